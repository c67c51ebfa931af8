"""Where sfnc is installed, and the virtual environments that lie beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

_PACKAGES = ("site-packages", "dist-packages")
_PROBE = """
import sys
sys.path.pop(0)  # the current folder: nothing in it may be imported
import importlib.metadata as m, json
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({n: version(n) for n in sys.argv[1:]}))
"""


def environments(name: str) -> list[Path]:
    """Return the Pythons of the virtual environments called ``name`` beside the installation, existing ones only.

    That is in the checkout that sfnc is imported from, and beside the environment that runs it. The current folder is
    no such place: what lies there came with whatever the user works on, and would be executed.
    """
    root = Path(__file__).resolve().parents[1]
    places = [] if root.name in _PACKAGES else [root]
    places.append(Path(sys.prefix).resolve().parent)
    found = (place / name / "bin" / "python" for place in dict.fromkeys(places))
    return [python for python in found if python.exists()]


def absolute(python: str) -> str:
    """Return the path of an interpreter so that it is found from any folder; a bare name is one to look for in PATH."""
    return os.path.abspath(python) if os.path.dirname(python) else python


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would mix its packages into another Python's."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def find_python(variable: str, folder: str, check: Callable[[str], str]) -> tuple[str | None, str]:
    """Return (path of a Python that ``check`` finds nothing wrong with, "") or (None, why there is none).

    The environment variable decides where it is set; else this Python, then the environment ``folder`` beside the
    installation, never one in the current folder.
    """
    named = os.environ.get(variable)
    if named:
        named = absolute(named)
        problem = check(named)
        return (None, f"{variable}: {problem}") if problem else (named, "")
    problems = []
    for python in (sys.executable, *map(str, environments(folder))):
        problem = check(python)
        if not problem:
            return python, ""
        problems.append(problem)
    return None, "; ".join(problems)


@lru_cache(maxsize=32)
def lacks(python: str, packages: tuple[str, ...]) -> tuple[str, Mapping[str, str]]:
    """Return (which packages a Python lacks, "" where none, their versions). Imports nothing heavy."""
    try:
        probe = subprocess.run(
            [python, "-c", _PROBE, *packages], capture_output=True, text=True, timeout=60, check=True,
            env=clean_environment(),
        )  # fmt: skip
        found: dict[str, str | None] = json.loads(probe.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{python} does not run ({error})", {}
    missing = [name for name, version in found.items() if version is None]
    problem = f"{python} lacks {', '.join(missing)}" if missing else ""
    return problem, {name: version for name, version in found.items() if version is not None}
