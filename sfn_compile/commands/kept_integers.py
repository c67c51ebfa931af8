"""A model that an importer made of a network of integers has to be compiled to the same integers, or not at all."""

from __future__ import annotations

from ..compiler.compilation import Compilation
from ..compiler.draft import Progress
from ..evaluation.side_by_side import reference_of
from ..foundation.diagnostics import fail
from ..foundation.samples import n_samples, part
from ..host import model_outputs
from .evaluate import compare

EXACT = "sfnc.exact"  # a key of the model's metadata
SAMPLES = 64


def require_kept_integers(done: Compilation, progress: Progress) -> None:
    """Raise SFN414 where a model says that it computes integers, and the network computes others on the samples.

    ``max_error`` of an output is in its own unit; another integer is at least a step away.
    """
    if EXACT not in done.loaded.model.metadata_props:
        return
    loaded, x = done.loaded, done.given.shown
    end = model_outputs.ending_of(loaded.output_names, loaded.tail)
    reference = reference_of(loaded.path, loaded.input_names, loaded.batch, [d.name for d in done.program.outputs], end)
    found = compare(done.program, reference, part(x, slice(min(SAMPLES, n_samples(x)))), None, progress, end)
    wrong = [
        d.name
        for d in done.program.outputs
        if float(found["outputs"][d.name]["max_error"]) > float(d.step.min()) / 4
    ]  # fmt: skip
    if wrong:
        what = f"compiled anew the network makes other integers at {', '.join(wrong)} than the file it is read from"
        fix = "compile the model that the file was made from"
        raise fail("SFN414", what, loaded.path.name, fix)
