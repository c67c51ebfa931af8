"""sfnc from Python: :func:`compile` and :func:`load`, both of which give a :class:`~.network.Network`."""

from __future__ import annotations

import shutil
import tempfile
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands.request import compile_options, request_of

if TYPE_CHECKING:
    from .models import ModelLike
    from .network import Network, Progress


def compile(
    model: ModelLike, out: str | Path | None = None, *, example: Any = None, progress: Progress | None = None,
    **options: Any,
) -> Network:  # fmt: skip
    """Compile ``model`` as ``sfnc compile`` does and return the network; all options: ``docs/options.md``.

    ``model``: the path of an .onnx, an ``onnx.ModelProto``, torch's ``ONNXProgram``, or a ``torch.nn.Module`` with an
    ``example`` of its inputs. ``out``: the build folder; without one the build lives in a temporary folder as long as
    the network that is returned, and ``save(out)`` keeps it. ``progress(stage, done, total)`` is called meanwhile.

    Targets that refuse are in ``refusals`` of the network while the others are built. Raises
    ``diagnostics.CompileError``; SFN605 for an option that does not exist or a value that is not accepted.
    """
    asked = request_of(options)
    from ..commands.build import build
    from ..commands.fit import wanted
    from ..commands.unchanged import asked_for, earlier_build
    from ..data.given import unseen
    from .models import model_file
    from .network import Network, temporary_folder

    beside, place = asked.arguments, None if out is None else Path(out)
    shapes, chip = dict(beside.input_shapes), wanted(beside.hardware, beside.host_work)
    with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
        path = model_file(model, example, Path(scratch))
        request = None if place is None else asked_for(path, asked)
        if place is not None and not beside.rebuild and earlier_build(path, place, request) is not None:
            return Network(place)
        place = place if place is not None else temporary_folder() / f"{path.stem}.sfnc"
        try:
            built = build(path, place, asked.options, asked.data, shapes, progress or unseen, asked.search,
                          beside.force, chip, request)  # fmt: skip
        except BaseException:
            if out is None:
                shutil.rmtree(place.parent, ignore_errors=True)
            raise
    return Network(built.folder, built.refusals, temporary=out is None)


def load(folder: str | Path) -> Network:
    """Return the network of a build folder. Raises ``diagnostics.CompileError`` (SFN503)."""
    from .network import Network

    return Network(Path(folder))


def _signature() -> Signature:
    """Return the signature of :func:`compile` with every option; type checkers read the same in ``__init__.pyi``."""
    model = Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, annotation="ModelLike")
    out = Parameter("out", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation="str | Path | None")
    own = [
        Parameter("example", Parameter.KEYWORD_ONLY, default=None, annotation="Any"),
        Parameter("progress", Parameter.KEYWORD_ONLY, default=None, annotation="Progress | None"),
    ]
    options = [
        Parameter(o.name, Parameter.KEYWORD_ONLY, default=o.default, annotation=o.accepts or o.annotation)
        for o in compile_options()
    ]
    return Signature([model, out, *own, *options], return_annotation="Network")


compile.__signature__ = _signature()  # type: ignore[attr-defined]
