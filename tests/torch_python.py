"""A Python with torch, in another process: that of the stock NIR readers beside the checkout, with our packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sfn_compile.foundation.installation import environments

ROOT = Path(__file__).parents[1]
START = "import runpy, sys; sys.path += sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"


def run_with_torch(script: Path, cwd: Path) -> str:
    """The standard output of a script; skips where there is no environment with torch.

    That environment has torch and NumPy and none of our dependencies: they are found behind its own, in this one.
    """
    found = environments(".venv-nir")
    if not found:
        pytest.skip("no environment with torch: make readers")
    paths = [str(ROOT), str(ROOT / "backends"), *(p for p in sys.path if "site-packages" in p)]
    done = subprocess.run([str(found[0]), "-c", START, str(script), *paths], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
