"""sfnc from Python: :func:`compile` and :func:`load`."""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commands.request import compile_options, request_of

if TYPE_CHECKING:
    from .commands.build import Built
    from .program.network import Program


def compile(model: str | Path, out: str | Path, **options: Any) -> Built:
    """Compile ``model`` into the folder ``out``, as ``sfnc compile`` does; all options: ``docs/options.md``.

    Returns the report and the refusals of single targets. Raises ``diagnostics.CompileError``; SFN605 for an option
    that does not exist or a value that is not accepted.
    """
    asked = request_of(options)
    from .commands.build import build

    calib, shapes, force = asked.arguments.calib, dict(asked.arguments.input_shapes), asked.arguments.force
    return build(Path(model), Path(out), asked.options, calib, shapes, search=asked.search, force=force)


def load(folder: str | Path) -> Program:
    """Return the Program of a build folder. Raises ``diagnostics.CompileError`` (SFN503)."""
    from .files.build_folder import open_build

    return open_build(Path(folder))[1]


def _signature() -> Signature:
    """Return the signature of :func:`compile` with every option; type checkers read the same in ``__init__.pyi``."""
    places = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation="str | Path") for name in ("model", "out")]
    options = [
        Parameter(o.name, Parameter.KEYWORD_ONLY, default=o.default, annotation=o.accepts or o.annotation)
        for o in compile_options()
    ]
    return Signature([*places, *options], return_annotation="Built")


compile.__signature__ = _signature()  # type: ignore[attr-defined]
