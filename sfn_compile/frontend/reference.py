"""The float truth: the user's own model, run by onnxruntime, with any of its values as further outputs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..files.mapped_arrays import release
from ..foundation.diagnostics import fail
from ..foundation.samples import Samples, by_name, n_samples, part
from . import qonnx, wide_products

if TYPE_CHECKING:
    import onnxruntime as ort

Array = NDArray[Any]
_BATCH = 32
OPTIMIZATION = "disabled"  # of the reference's graph, by onnxruntime: the file is computed as it is written


class FloatReference:
    """An onnxruntime session over the original file; ``taps`` are values of the graph returned beside the outputs.

    ``inputs`` names those that samples are given for; any other is fed zeros. ``batch`` is the size of a batch where it
    is fixed; ``piece`` samples run at a time where it is None. ``only_taps``: the model's outputs are not computed.
    ``before`` says of taps that do not have the batch in front how many numbers of one sample are before it.
    ``threads``: of onnxruntime [default: one per core].
    """

    def __init__(
        self, path: Path, inputs: Sequence[str], batch: int | None, taps: Sequence[str] = (), piece: int = _BATCH,
        only_taps: bool = False, threads: int | None = None, before: Mapping[str, int] | None = None,
    ):  # fmt: skip
        self.inputs = tuple(inputs)
        self.batch = batch
        self.piece = piece
        self.before = dict(before or {})
        self.session = _session(path, taps, only_taps, threads)
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.idle = [i for i in self.session.get_inputs() if i.name not in self.inputs]

    def run(self, x: Samples | Array, each: Collection[str] = ()) -> dict[str, Any]:
        """Return every output and tap ``(n, ...)`` for samples ``(n, *shape)`` of every input. Raises SFN106.

        Outputs named in ``each`` are tuples of one array per batch instead: their shapes may differ.
        """
        pieces = list(self.stream(x))
        return {
            k: tuple(p[k] for p in pieces) if k in each else np.concatenate([self._as_samples(p[k]) for p in pieces])
            for k in self.outputs
        }

    def stream(self, x: Samples | Array) -> Iterator[dict[str, Array]]:
        """Yield outputs and taps for consecutive pieces of the samples ``x``, batch axis first.

        Raises SFN106 where onnxruntime fails.
        """
        given = by_name(x, self.inputs)
        x = {name: given[name] for name in self.inputs if name in given}
        n, size = n_samples(x), self.batch or self.piece
        for start in range(0, n, size):
            chosen: Any = slice(start, start + size)
            if self.batch and start + size > n:  # a fixed batch is filled up with repetitions, which are cut off again
                chosen = np.minimum(np.arange(start, start + size), n - 1)
            piece = part(x, chosen)
            feeds = piece | {i.name: _zeros(i, n_samples(piece)) for i in self.idle}
            try:
                found = self.session.run(self.outputs, feeds)
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}") from error
            for values in x.values():
                release(values)
            keep = slice(n - start) if isinstance(chosen, np.ndarray) else ...
            named = zip(self.outputs, found, strict=True)
            yield {name: self._in_front(name, np.asarray(value), n_samples(piece))[keep] for name, value in named}

    def _as_samples(self, value: Array) -> Array:
        """Return an output with an axis of samples: what a model of batch 1 gives without one is one sample."""
        return value[None] if self.batch == 1 and value.shape[:1] != (1,) else value

    def _in_front(self, name: str, value: Array, n: int) -> Array:
        """Return the numbers of a value sample by sample: ``(n, ...)``. Raises SFN203 where it has none of its own."""
        before = self.before.get(name)
        if before is None:
            return value
        if value.size % (before * n):
            what = f"its value {name!r} of shape {value.shape} for {n} samples does not fall into samples"
            raise fail("SFN203", what, fix="keep axis 0 for the samples, each computed alone")
        return value.reshape(before, n, -1).swapaxes(0, 1).reshape(n, -1)


def _zeros(source: ort.NodeArg, n: int) -> Array:
    """Return zeros for an input: its symbolic axes are ``n`` samples first, 1 behind."""
    shape = [d if isinstance(d, int) else 1 if i else n for i, d in enumerate(source.shape)]
    kind = source.type.removeprefix("tensor(").removesuffix(")")
    if kind == "string":
        return np.full(shape, "", object)
    return np.zeros(shape, {"float": "float32", "double": "float64"}.get(kind, kind))


def as_written(threads: int | None = None) -> ort.SessionOptions:
    """Return the options of a session that computes the nodes of a file one by one, none of them fused or rewritten.

    From its basic level on, onnxruntime drops quantisers and multiplies weights of eight bits by activations that it
    rounds to eight bits as well.
    """
    import onnxruntime as ort  # here, because `sfnc check` answers without it

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(path: Path, taps: Sequence[str], only_taps: bool, threads: int | None) -> ort.InferenceSession:
    options = as_written(threads or os.cpu_count() or 1)
    # onnxruntime reads weight data only from the model's folder, which it has to be told for a model in memory.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent.resolve()))
    try:
        return _open(_prepared(path, taps, only_taps), options)
    except Exception as error:  # as above: no base class to name
        fix = "a model has to run in onnxruntime alone: try `onnxruntime.InferenceSession(path)`"
        raise fail("SFN106", f"onnxruntime: {_reason(error)}", str(path), fix) from error


def _open(model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Return the session; a file format that is newer than this onnxruntime is noted as the newest that it knows.

    The IR version says how a file is laid out. The operators and their meaning go by the opset, which stays.
    """
    import onnxruntime as ort  # here, because `sfnc check` answers without it

    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        newest = re.search(r"max supported IR version: (\d+)", str(error))
        if newest is None:
            raise
    proto = (
        onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model, load_external_data=False)
    )
    proto.ir_version = int(newest[1])
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _reason(error: Exception) -> str:
    """Return what onnxruntime says without where in its own sources it says it."""
    text = " ".join(str(error).split())
    return re.sub(r"\S*onnxruntime_src\S* .*?(?= [A-Z])", "", text)[:300]


def _prepared(path: Path, taps: Sequence[str], only_taps: bool) -> bytes | str:
    """Return what onnxruntime loads: the file, or in memory the model with more outputs, others, in standard
    operators, or with weights that no processor saturates on.

    External weight data stays where it is.
    """
    model = onnx.load(str(path), load_external_data=False)
    foreign, narrow = qonnx.has_quantisers(model), wide_products.saturates(model)
    if not taps and not foreign and not narrow:
        return str(path)
    model = qonnx.standard(model) if foreign else model
    model = wide_products.with_unsigned_weights(model, path.parent) if narrow else model
    if only_taps:
        del model.graph.output[:]
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in taps if t not in have)
    return bytes(model.SerializeToString())


def original_names(path: Path) -> set[str]:
    """Return the names of all values that the original file computes."""
    model = onnx.load(str(path), load_external_data=False)
    return {o for node in model.graph.node for o in node.output if o}
