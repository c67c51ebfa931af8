"""Which Python runs nengo-loihi: it lives in an environment of its own."""

from __future__ import annotations

from sfn_compile.foundation.installation import find_python, lacks

VARIABLE = "SFNC_LOIHI1_PYTHON"
FOLDER = ".venv-loihi1"
ENGINE = "1.1.0"
_NEEDED = ("nengo-loihi", "nengo", "numpy", "scipy")
INSTALL = (
    f"make a virtual environment {FOLDER} beside sfnc's own and install into it `pip install nengo-loihi==1.1.0`; any "
    f"other place: {VARIABLE}=/path/to/python"
)


def find() -> tuple[str | None, str]:
    """Return (path of a Python that has nengo-loihi, "") or (None, why there is none)."""
    return find_python(VARIABLE, FOLDER, check)


def check(python: str) -> str:
    """Return what keeps ``python`` from running nengo-loihi, empty where nothing does. Imports nothing heavy."""
    problem, found = lacks(python, _NEEDED)
    if problem or found["nengo-loihi"] == ENGINE:
        return problem
    return f"{python} has nengo-loihi {found['nengo-loihi']}, needed is {ENGINE}"
