"""Run a host head with onnxruntime: from samples of the model's inputs to those of the network's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import ModelInput, Samples, n_samples
from ..frontend.reference import as_written

Array = NDArray[Any]
FILE = "host_head.onnx"


class HeadRunner:
    """An onnxruntime session over a head that takes ``batch`` samples at a time and makes the values ``cuts``.

    One thread: the same sums in the same order, however many cores there are.
    """

    def __init__(self, model: bytes, cuts: tuple[ModelInput, ...], batch: int):
        import onnxruntime as ort  # here, because `sfnc check` answers without it

        self.cuts, self.batch = cuts, batch
        try:
            self.session = ort.InferenceSession(model, as_written(threads=1), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}", FILE) from error
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, x: Samples) -> dict[str, Array]:
        """Return the values at the cut ``(n, *shape)`` for samples of the model's inputs. Raises SFN106, SFN305."""
        n = n_samples(x)
        found = {c.name: np.empty((n, *c.shape), c.dtype) for c in self.cuts}
        for start in range(0, n, self.batch):
            chosen = np.minimum(np.arange(start, start + self.batch), n - 1)  # filled up with repetitions
            answers = self._answers({name: x[name][chosen] for name in self.inputs})
            for cut in self.cuts:
                self._check_shape(answers[cut.name], cut)
                found[cut.name][start : start + self.batch] = answers[cut.name][: n - start]
        for name, values in found.items():
            _check_finite(values, name)
        return found

    def _answers(self, feeds: Samples) -> dict[str, Array]:
        try:
            answers = self.session.run(self.outputs, dict(feeds))
        except Exception as error:  # as above: no base class to name
            raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}", FILE) from error
        return {name: np.asarray(answer) for name, answer in zip(self.outputs, answers, strict=True)}

    def _check_shape(self, answer: Array, cut: ModelInput) -> None:
        if answer.shape != (self.batch, *cut.shape) or answer.dtype != cut.dtype:
            what = f"its value {cut.name!r} has shape {answer.shape} and type {answer.dtype}, the network takes "
            raise fail("SFN503", f"{what}{(self.batch, *cut.shape)} and {cut.dtype}", FILE, "compile again")


def _check_finite(values: Array, name: str) -> None:
    if values.dtype.kind != "f":
        return
    bad = sum(not np.isfinite(value).all() for value in values)
    if bad:
        what = f"the host head makes NaN or infinity of {bad} of {len(values)} samples"
        fix = "look at these samples; the logarithm of silence is infinite: add a small number before it"
        raise fail("SFN305", what, f"value {name!r}", fix)
