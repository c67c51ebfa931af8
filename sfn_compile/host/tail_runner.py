"""Run a host tail with onnxruntime, one sample at a time: detections of one image are no matter of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import Samples
from ..frontend.reference import as_written

Array = NDArray[Any]
Answers = dict[str, Any]


class TailRunner:
    """An onnxruntime session over a tail. ``stacks``: output name -> whether its answers stack to one array."""

    def __init__(self, model: bytes, stacks: Mapping[str, bool]):
        import onnxruntime as ort  # here, because `sfnc check` answers without it

        self.stacks = dict(stacks)
        try:
            self.session = ort.InferenceSession(model, as_written(), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}", "host_tail.onnx") from error
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.kinds = {o.name: o.type.removeprefix("tensor(").removesuffix(")") for o in self.session.get_outputs()}

    def run(self, values: Samples, n: int) -> Answers:
        """Return the model's outputs for ``n`` samples of the values at the cut (and of model inputs) by name.

        An output that stacks is an array ``(n, ...)``, any other a tuple of one array per sample. Raises SFN106.
        """
        found: dict[str, list[Array]] = {name: [] for name in self.stacks}
        for i in range(n):
            feeds = {name: values[name][i : i + 1] for name in self.inputs}
            try:
                answers = self.session.run(list(found), feeds)
            except Exception as error:  # as above: no base class to name
                raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}", "host_tail.onnx") from error
            for rows, answer in zip(found.values(), answers, strict=True):
                rows.append(np.asarray(answer))
        self._check_stacks(found)
        return {name: np.concatenate(rows) if self.stacks[name] else tuple(rows) for name, rows in found.items()}

    def _check_stacks(self, found: Mapping[str, list[Array]]) -> None:
        """Raise SFN503 where answers that are said to stack to one array do not."""
        for name, rows in found.items():
            if self.stacks[name] and (len({r.shape for r in rows}) != 1 or rows[0].shape[:1] != (1,)):
                what = f"the answers {name!r} of the host tail do not stack to one array, as the manifest says"
                raise fail("SFN503", what, "host_tail.onnx", "compile again")
