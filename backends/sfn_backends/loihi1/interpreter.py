"""Which Python runs nengo-loihi: it lives in an environment of its own."""

from __future__ import annotations

from sfn_compile.foundation.installation import find_python

VARIABLE = "SFNC_LOIHI1_PYTHON"
FOLDER = ".venv-loihi1"
NEEDED = {"nengo-loihi": "1.1.0", "nengo": "", "numpy": "", "scipy": ""}  # "": any version
INSTALL = (
    f"make a virtual environment {FOLDER} beside sfnc's own and install into it `pip install nengo-loihi==1.1.0`; any "
    f"other place: {VARIABLE}=/path/to/python"
)


def find() -> tuple[str | None, str]:
    """Return (path of a Python that has nengo-loihi, "") or (None, why there is none)."""
    return find_python(VARIABLE, FOLDER, NEEDED)
