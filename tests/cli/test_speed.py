"""Questions are answered at once: nothing is imported that an answer does not need, and weights are read once."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from ..commands.cli_helpers import DIGITS
from ..frontend.tiny_onnx import noise, saved, tiny

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "rich", "sympy")


def imported_by(*arguments: object) -> set[str]:
    """The heavy packages that are loaded when a command has run in a process of its own."""
    code = f"""import json, sys
from sfn_compile.cli.main import cli
cli({[str(a) for a in arguments]!r}, standalone_mode=False)"""
    ending = f"finally:\n print('LOADED', json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    body = "import json, sys\ntry:\n " + code.replace("\n", "\n ") + "\nexcept SystemExit: pass\n" + ending
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.rpartition("LOADED ")[2]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("explain", "SFN201"), ("check", "--help")])
def test_help_loads_nothing_heavy(arguments):
    assert imported_by(*arguments) == set()


def test_check_does_not_load_onnxruntime():
    assert not imported_by("check", DIGITS) & {"onnxruntime", "rich"}


def test_check_of_a_hundred_megabytes_takes_little_longer_than_of_a_few(tmp_path):
    """CPU seconds, so that a busy machine does not count: reading, hashing or copying the weights twice would show."""
    small = saved(tiny("a = Gemm(x, w) y = Relu(a)", (4,), w=noise(4, 4)), tmp_path, "small.onnx")
    large = saved(tiny("a = Gemm(x, w) y = Relu(a)", (5000,), w=noise(5000, 5000)), tmp_path, "large.onnx")
    assert large.stat().st_size >= 100_000_000
    seconds = []
    for model in (small, large):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "sfn_compile.cli.main", "check", str(model)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "2 of 2 nodes can be mapped" in done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert seconds[1] - seconds[0] < 1.5
