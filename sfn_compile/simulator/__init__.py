"""The integers of a Program, computed by NumPy: the reference and the fast engine."""
