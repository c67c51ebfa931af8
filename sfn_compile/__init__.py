"""sfnc: trained networks to integer spiking networks that answer in one timestep, proved equal on every target.

From Python::

    from sfn_compile import compile, load
    compile("model.onnx", "out", targets=("sim", "nir"), calib="data.npz")
    program = load("out")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .foundation.version import __version__

__all__ = ["Program", "__version__", "compile", "load"]

if TYPE_CHECKING:
    from .commands.build import Built
    from .program.network import Program


def compile(model: str | Path, out: str | Path, *, calib: str | Path | None = None, **options: Any) -> Built:
    """Compile ``model`` into the folder ``out``, as ``sfnc compile`` does; ``options`` are those of ``config.Options``.

    ``search``, a ``search.plan.Search``, refines them. ``force`` keeps files of others in an earlier build.

    Returns the report and the refusals of single targets. Raises ``diagnostics.CompileError``.
    """
    from .commands.build import build
    from .foundation.options import Options

    shapes, search = options.pop("input_shapes", None), options.pop("search", None)
    force = bool(options.pop("force", False))
    data = None if calib is None else Path(calib)
    return build(Path(model), Path(out), Options(**options), data, shapes, search=search, force=force)


def load(folder: str | Path) -> Program:
    """Return the Program of a build folder. Raises ``diagnostics.CompileError`` (SFN503)."""
    from .files.build_folder import open_build

    return open_build(Path(folder))[1]


def __getattr__(name: str) -> Any:
    if name == "Program":  # imported when asked for: the package itself must stay light for `sfnc --help`
        from .program.network import Program

        return Program
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
