"""An interpreter of Programs, written from ``docs/spec/arithmetic.md`` and ``docs/spec/program.md`` alone.

Everything is int64 and spelled out; nothing of sfnc is imported, so that the two agree because the documents are
complete. A value is ``(n, *shape)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tree = dict[str, Any]


def run(program: Tree, codes: dict[str, Array]) -> dict[str, Array]:
    """Return every integer of the network for the codes of its inputs, by value name."""
    values = {e["value"]: codes[e["value"]].astype(np.int64) for e in program["inputs"]}
    ranges = {e["value"]: (e["lo"], e["hi"]) for e in program["inputs"]}
    for step in program["steps"]:
        values[step["name"]] = STEPS[step["class"]](step, values, ranges)
        ranges[step["name"]] = _range(step, ranges)
    return values


def _range(step: Tree, ranges: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """The integers that a value may hold: section 2, point 6."""
    if step["class"] in ("Population", "Normalization"):
        ladder = step["ladder"]
        if ladder["class"] == "Readout":
            return step["acc_min"] + int(ladder["offset"].min()), step["acc_max"] + int(ladder["offset"].max())
        if "codes" in ladder:
            return int(ladder["codes"].min()), int(ladder["codes"].max())
        return ladder["lo"], ladder["hi"]
    if step["class"] == "MaxPool":
        return ranges[step["source"]]
    lo, hi = min(ranges[s][0] for s in step["sources"]), max(ranges[s][1] for s in step["sources"])
    return (min(lo, 0), max(hi, 0)) if step["op"]["class"] == "Pad" else (lo, hi)


# -- steps ------------------------------------------------------------------------------------------------------
def _population(step: Tree, values: dict[str, Array], ranges: Any) -> Array:
    n = len(next(iter(values.values())))
    acc = np.zeros((n, *step["shape"]), np.int64)
    for term in step["projections"]:
        acc = acc + MAPS[term["map"]["class"]](term["map"], values[term["source"]])
    for term in step["products"]:
        acc = acc + _product(term["form"], values[term["left"]], values[term["right"]])
    norm = None
    if step["norm"] is not None:
        norm = values[step["norm"]["source"]].sum(axis=step["norm"]["axis"] + 1, keepdims=True)
    return _fire(step["ladder"], acc, norm)


def _normalization(step: Tree, values: dict[str, Array], ranges: Any) -> Array:
    x = sum(_identity(p["map"], values[p["source"]]) for p in step["projections"])
    axes = tuple(a + 1 for a in step["axes"])
    n = math.prod(x.shape[a] for a in axes)
    d, v = n * x, n * (x * x).sum(axis=axes, keepdims=True)
    if step["centred"]:
        total = x.sum(axis=axes, keepdims=True)
        d, v = d - total, v - total * total
    radicand = (v << (2 * step["bits"])) + step["epsilon"]
    root = np.array([math.isqrt(int(r)) for r in radicand.ravel()], np.int64).reshape(radicand.shape)
    return _fire(step["ladder"], step["gain"].astype(np.int64) * d, np.maximum(root, 1))


def _max_pool(step: Tree, values: dict[str, Array], ranges: dict[str, tuple[int, int]]) -> Array:
    x, lo = values[step["source"]], ranges[step["source"]][0]
    found = np.full((len(x), *step["shape"]), lo, np.int64)
    for _, read in taps(x, step["kernel"], step["strides"], step["pads"], step["dilations"], fill=lo):
        found = np.maximum(found, read)
    return found


def _move(step: Tree, values: dict[str, Array], ranges: Any) -> Array:
    return move(step["op"], *(values[s] for s in step["sources"]))


def move(op: Tree, *xs: Array) -> Array:
    """Codes in another place: section 5; also the host operation of that kind."""
    x, kind = xs[0], op["class"]
    if kind == "Reshape":
        return x.reshape(len(x), *op["shape"])
    if kind == "Transpose":
        return x.transpose(0, *(p + 1 for p in op["perm"]))
    if kind == "Concat":
        return np.concatenate(xs, axis=op["axis"] + 1)
    if kind == "Slice":
        return x[(slice(None), *(slice(*r) for r in op["ranges"]))]
    if kind == "Pad":
        return np.pad(x, [(0, 0), *op["pads"]])
    assert kind == "Take", kind
    return x.take(op["index"], axis=op["axis"] + 1)


STEPS = {"Population": _population, "Normalization": _normalization, "MaxPool": _max_pool, "Move": _move}


def _weight(m: Tree) -> Array:
    """The weights of a map: integers in the network, real numbers in a host operation."""
    return np.asarray(m["weight"].astype(np.float64 if m["weight"].dtype.kind == "f" else np.int64))


# -- maps and products ------------------------------------------------------------------------------------------
def taps(
    x: Array, kernel: Any, strides: Any, pads: Any, dilations: Any, fill: float = 0
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Every place of a kernel with what all windows read there: ``(n, c, *windows)``."""
    padded = np.pad(x, [(0, 0), (0, 0), *map(tuple, pads)], constant_values=fill)
    counts = [
        (size + before + after - ((k - 1) * d + 1)) // stride + 1
        for size, (before, after), k, d, stride in zip(x.shape[2:], pads, kernel, dilations, strides, strict=True)
    ]
    for tap in product(*map(range, kernel)):
        cuts = (
            slice(t * d, t * d + (count - 1) * stride + 1, stride)
            for t, d, count, stride in zip(tap, dilations, counts, strides, strict=True)
        )
        yield tap, padded[(slice(None), slice(None), *cuts)]


def _dense(m: Tree, s: Array) -> Array:
    return np.einsum("...i,oi->...o", s, _weight(m))


def _conv(m: Tree, s: Array) -> Array:
    weight, groups = _weight(m), m["groups"]
    per_in, per_out = s.shape[1] // groups, weight.shape[0] // groups
    parts: list[Any] = [0] * groups
    for tap, read in taps(s, weight.shape[2:], m["strides"], m["pads"], m["dilations"]):
        for g in range(groups):
            w = weight[(slice(g * per_out, (g + 1) * per_out), slice(None), *tap)]
            parts[g] = parts[g] + np.einsum("oc,nc...->no...", w, read[:, g * per_in : (g + 1) * per_in])
    return np.concatenate(parts, axis=1)


def _sum_pool(m: Tree, s: Array) -> Array:
    ones = [1] * len(m["kernel"])
    return _weight(m) * sum(r for _, r in taps(s, m["kernel"], m["strides"], m["pads"], ones))


def _identity(m: Tree, s: Array) -> Array:
    return np.asarray(_weight(m) * s)


def _gather(m: Tree, s: Array) -> Array:
    flat = np.concatenate([s.reshape(len(s), -1), np.zeros((len(s), 1), np.int64)], axis=1)  # -1 reads code 0
    return np.asarray(_weight(m) * flat[:, m["index"]])


MAPS = {"Dense": _dense, "Conv": _conv, "SumPool": _sum_pool, "Identity": _identity, "Gather": _gather}


def _product(form: Tree, left: Array, right: Array) -> Array:
    weight = _weight(form)
    if form["class"] == "Elementwise":
        return np.asarray(weight * (left * right))
    assert form["class"] == "Matmul", form["class"]
    return np.asarray(weight * np.einsum("...ik,...kj->...ij", left, right))


# -- ladders ----------------------------------------------------------------------------------------------------
def _fire(ladder: Tree, acc: Array, norm: Array | None) -> Array:
    whole = {k: v.astype(np.int64) for k, v in ladder.items() if isinstance(v, np.ndarray)}
    kind = ladder["class"]
    if kind == "Readout":
        return acc + whole["offset"]
    if kind == "Uniform":
        return np.clip((acc + whole["offset"]) // whole["theta"], ladder["lo"], ladder["hi"])
    if kind == "Table":
        return _counted(whole, acc)
    if kind == "RowTable":
        a = acc + whole["offset"]
        return _counted(whole, a - a.max(axis=ladder["axis"] + 1, keepdims=True))
    assert kind == "Ratio", kind
    assert norm is not None
    r = np.maximum(norm, 1)
    return np.clip((acc + whole["offset"] * r) // (whole["theta"] * r), ladder["lo"], ladder["hi"])


def _counted(ladder: dict[str, Array], a: Array) -> Array:
    count = np.zeros(a.shape, np.int64)
    for k in range(ladder["table"].shape[-1]):
        count += a >= ladder["table"][..., k]
    return ladder["codes"][count]
