"""One module per command: build, check, run and evaluate, verify, bisect."""
