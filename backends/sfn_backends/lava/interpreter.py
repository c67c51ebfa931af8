"""Which Python runs Lava: lava-nc pins Python 3.10, sfnc itself may live on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache

from sfn_compile.foundation.installation import absolute, environments

VARIABLE = "SFNC_LAVA_PYTHON"
LAVA = "0.10.0"
NUMPY_BELOW = (2, 4)  # 2.4 took the argument `newshape` from reshape, which the virtual ports of Lava pass
_NEEDED = ("lava-nc", "numpy", "scipy", "networkx", "asteval")
FOLDER = ".venv-lava"
_PROBE = """
import sys
sys.path.pop(0)  # the current folder: nothing in it is to be imported
import importlib.metadata as m, json
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({n: version(n) for n in sys.argv[1:]}))
"""
INSTALL = (
    "make a virtual environment .venv-lava beside sfnc's own and install into it, on Python 3.10 `pip install "
    "lava-nc==0.10.0`, on 3.11 to 3.13 `pip install --no-deps --ignore-requires-python lava-nc==0.10.0` and "
    '`pip install "numpy<2.4" scipy "networkx<=2.8.7" "asteval<0.10"`; any other place: '
    f"{VARIABLE}=/path/to/python"
)


def find() -> tuple[str | None, str]:
    """Return (path of a Python that can run Lava, "") or (None, why there is none).

    The environment variable SFNC_LAVA_PYTHON decides where it is set; else this Python, then ``.venv-lava`` beside the
    installation, never one in the current folder.
    """
    named = os.environ.get(VARIABLE)
    if named:
        named = absolute(named)
        problem = check(named)
        return (None, f"{VARIABLE}: {problem}") if problem else (named, "")
    problems = []
    for python in (sys.executable, *map(str, environments(FOLDER))):
        problem = check(python)
        if not problem:
            return python, ""
        problems.append(problem)
    return None, "; ".join(problems)


@lru_cache(maxsize=16)
def check(python: str) -> str:
    """Return what keeps ``python`` from running Lava, empty where nothing does. Imports nothing heavy."""
    try:
        probe = subprocess.run(
            [python, "-c", _PROBE, *_NEEDED], capture_output=True, text=True, timeout=60, check=True, env=environment()
        )
        found: dict[str, str | None] = json.loads(probe.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{python} does not run ({error})"
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return f"{python} lacks {', '.join(missing)}"
    if found["lava-nc"] != LAVA:
        return f"{python} has lava-nc {found['lava-nc']}, needed is {LAVA}"
    numpy = tuple(map(int, str(found["numpy"]).split(".")[:2]))
    return f"{python} has NumPy {found['numpy']}, on which lava-nc breaks" if numpy >= NUMPY_BELOW else ""


def environment() -> dict[str, str]:
    """Return this process's environment without what would mix its packages into another Python's."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
