"""Where sfnc is installed, and the virtual environments that lie beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGES = ("site-packages", "dist-packages")


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
