"""Assertions for tests of your own, under pytest or without it.

    from sfn_compile.assertions import assert_accuracy, assert_exact, assert_same_network

    def test_the_chip_gets_what_was_trained():
        assert_exact("out")
        assert_accuracy("out", "test.npz", max_drop=1.0, min_agreement=0.98)

Each raises AssertionError with what ``sfnc`` would print, and returns what was found where it holds. A fault that is
no answer to the question (no build, data that does not fit) raises ``CompileError`` as everywhere.
"""

from __future__ import annotations

from .builds import assert_accuracy, assert_exact, assert_same_network

__all__ = ["assert_accuracy", "assert_exact", "assert_same_network"]
