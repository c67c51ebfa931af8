"""The command line: arguments in, text on the terminal out."""
