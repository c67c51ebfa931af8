"""`sfn_compile` from Python."""
