"""Constants that transform signals and were never trained: sinusoids, bands, picks. Told by their numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("Conv", "MatMul", "Gemm")
FEW = 8  # numbers of a filter along one signal that is stated by hand: pre-emphasis, a mean, a difference
LARGEST = 1 << 24  # numbers that are looked at
BINS, SHARE = 3, 0.9  # a windowed sinusoid has nine tenths of its energy within three bins of its frequency
TOLERANCE = 1e-6


def is_fixed(node: ir.Node) -> bool:
    """Whether a Conv, MatMul or Gemm is a fixed transform of one signal: DFT, DCT, framing, mel bands, a short filter.

    A bias, and a map that mixes several channels, are a layer's.
    """
    if node.op_type not in KINDS or node.domain not in ("", "ai.onnx"):
        return False
    kept = [v for v in node.inputs if v is not None]
    stated = [v.const_value for v in kept if v.const_value is not None and v.const_value.size <= LARGEST]
    if len(kept) != 2 or len(stated) != 1 or (node.op_type == "Conv" and kept[1].const_value is None):
        return False
    weight = np.asarray(stated[0].numpy())
    rows = _rows(node, weight, kept[0].const_value is not None) if weight.dtype.kind == "f" else None
    return rows is not None and bool(np.isfinite(rows).all()) and fixed_rows(rows.astype(np.float64))


def _rows(node: ir.Node, weight: Array, is_left: bool) -> Array | None:
    """Return the filters of a map, one a row, each along the one axis that it sums over; None where there are more.

    ``is_left``: the transform is the first factor.
    """
    if node.op_type == "Conv":
        lengths = [n for n in weight.shape[1:] if n > 1]
        return weight.reshape(len(weight), -1) if len(lengths) <= 1 else None
    if weight.ndim < 2 or max(weight.shape[:-2], default=1) > 1:
        return None
    matrix = weight.reshape(weight.shape[-2:])
    turn = node.attributes.get("transA" if is_left else "transB")
    turned = turn is not None and bool(turn.value)
    return matrix if turned != is_left else matrix.T


def fixed_rows(rows: Array) -> bool:
    """Whether filters ``(n, length)`` are short and few, or all of them sinusoids, bands or picks.

    >>> t = np.arange(64)
    >>> fixed_rows(np.cos(2 * np.pi * np.outer(np.arange(33), t) / 64) * np.hanning(64)), fixed_rows(np.eye(16))
    (True, True)
    >>> fixed_rows(np.random.default_rng(0).standard_normal((33, 64)))
    False
    """
    if len(rows) == 1 and rows.shape[1] <= FEW:
        return True
    return _bands(rows) or _sinusoids(rows)


def _bands(rows: Array) -> bool:
    """Whether every row is zero but for one run of numbers that rises and then falls, none below zero: bands, picks.

    Several bands overlap with their neighbours alone: together they leave most of the matrix empty.
    """
    if (rows < 0).any() or not rows.any() or (len(rows) > 1 and (rows > 0).mean() > 0.5):
        return False
    steps = np.sign(np.diff(np.pad(rows, ((0, 0), (1, 1))), axis=1))
    falls = np.maximum.accumulate(steps < 0, axis=1)
    return not (falls & (steps > 0)).any()


def _sinusoids(rows: Array) -> bool:
    """Whether most of the energy of every row that is not zero lies around one frequency."""
    length = rows.shape[1]
    if length <= FEW:
        return False
    seen = rows[(np.abs(rows) > TOLERANCE).any(axis=1)]
    if not len(seen):
        return False
    energy = np.abs(np.fft.rfft(seen, axis=1)) ** 2
    top = energy.argmax(axis=1)[:, None]
    near = np.abs(np.arange(energy.shape[1]) - top) <= BINS
    if energy.shape[1] // 2 < 2 * BINS + 1:  # so few frequencies that anything would be near
        return False
    return bool(((energy * near).sum(axis=1) >= SHARE * energy.sum(axis=1)).all())
