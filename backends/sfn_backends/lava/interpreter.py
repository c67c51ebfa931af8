"""Which Python runs Lava: lava-nc pins Python 3.10, sfnc itself may live on another."""

from __future__ import annotations

from sfn_compile.foundation.installation import find_python, lacks

VARIABLE = "SFNC_LAVA_PYTHON"
LAVA = "0.10.0"
NUMPY_BELOW = (2, 4)  # 2.4 took the argument `newshape` from reshape, which the virtual ports of Lava pass
_NEEDED = ("lava-nc", "numpy", "scipy", "networkx", "asteval")
FOLDER = ".venv-lava"
INSTALL = (
    "make a virtual environment .venv-lava beside sfnc's own and install into it, on Python 3.10 `pip install "
    "lava-nc==0.10.0`, on 3.11 to 3.13 `pip install --no-deps --ignore-requires-python lava-nc==0.10.0` and "
    '`pip install "numpy<2.4" scipy "networkx<=2.8.7" "asteval<0.10"`; any other place: '
    f"{VARIABLE}=/path/to/python"
)


def find() -> tuple[str | None, str]:
    """Return (path of a Python that can run Lava, "") or (None, why there is none)."""
    return find_python(VARIABLE, FOLDER, check)


def check(python: str) -> str:
    """Return what keeps ``python`` from running Lava, empty where nothing does. Imports nothing heavy."""
    problem, found = lacks(python, _NEEDED)
    if problem:
        return problem
    if found["lava-nc"] != LAVA:
        return f"{python} has lava-nc {found['lava-nc']}, needed is {LAVA}"
    numpy = tuple(map(int, found["numpy"].split(".")[:2]))
    return f"{python} has NumPy {found['numpy']}, on which lava-nc breaks" if numpy >= NUMPY_BELOW else ""
