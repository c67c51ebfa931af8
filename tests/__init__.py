"""Tests, a package that mirrors the code: ``tests/passes/mapping`` tests ``sfn_compile/passes/mapping``."""
