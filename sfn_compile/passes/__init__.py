"""The passes, Graph to Graph; their order with reasons is in :mod:`sfn_compile.passes.pipeline`."""

from __future__ import annotations

from .pipeline import run_passes

__all__ = ["run_passes"]
