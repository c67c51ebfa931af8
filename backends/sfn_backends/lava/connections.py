"""Projections as records of Lava's stock connection processes, and back.

* a Dense of a vector is Lava's Dense: twice the weight, columns in the order of the source's port;
* Conv, and SumPool with a weight per channel, are Lava's Conv (a grouped one for the pool);
* all else is Lava's Sparse, written as taps: ``out[o] = sum over t of weight[o, t] * in[index[o, t]]``.

Weights above 127 are a mantissa of 8 bits and an exponent, as a synapse of Loihi holds them.

A record keeps the fields of the original map under ``map`` and ``fields``; :func:`decode` reads its weights from the
tensors alone.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.lava import kernels
from sfn_backends.lava.layout import from_lava, positions, to_lava
from sfn_compile.files.program_files import smallest_int
from sfn_compile.program import arithmetic, network
from sfn_compile.program.network import Conv, Dense, Gather, Identity, LinearMap, Projection, Shape, SumPool
from sfn_compile.program.weights import exponent

Array = NDArray[Any]
Json = dict[str, Any]
Tensors = dict[str, Array]
PLAIN_TOP = 127


def encode(p: Projection, key: str, source: Shape, port: Shape) -> tuple[Json, Tensors]:
    """Return the record and the tensors of a projection.

    ``source`` is the shape that the map reads, ``port`` that of the population behind it (another one for a flatten).
    """
    linear = p.map
    plain = {f.name: getattr(linear, f.name) for f in fields(linear) if f.name not in ("weight", "index")}
    record: Json = {"source": p.source, "role": p.role, "source_shape": source}
    record |= {"map": type(linear).__name__, "fields": plain}
    shift = exponent(linear.weight)
    if int(np.abs(np.asarray(linear.weight, np.int64)).max(initial=0)) <= PLAIN_TOP:
        shift = 0  # it fits as it is
    record["exponent"] = shift
    linear = replace(linear, weight=np.asarray(np.asarray(linear.weight, np.int64) >> shift))
    record["weight_shape"] = linear.weight.shape
    if isinstance(linear, Dense) and len(source) == 1:
        order = np.argsort(positions(port).reshape(-1))
        extra, tensors = {"process": "Dense"}, {"weight": 2 * linear.weight.astype(np.int64)[:, order]}
    else:
        kernel = kernels.of(linear, source[0]) if isinstance(linear, Conv | SumPool) else None
        conv = None if kernel is None else kernels.to_conv(kernel)
        extra, tensors = _taps(linear, source, port) if conv is None or not conv.fits() else _conv(conv)
    record |= extra | {name: f"{key}_{name}" for name in tensors}
    record["weight_size"] = tensors["weight"].shape
    return record, {f"{key}_{name}": smallest_int(np.ascontiguousarray(x)) for name, x in tensors.items()}


def decode(record: Json, tensors: Tensors, port: Shape) -> Projection:
    """Return the projection of a record, its weights read from ``tensors``."""
    cls = getattr(network, record["map"])
    plain = {name: _tuples(value) for name, value in record["fields"].items()}
    weight, shape = tensors[record["weight"]].astype(np.int64), tuple(record["weight_shape"])
    if record["process"] == "Dense":
        plain["weight"] = (weight >> 1)[:, positions(port).reshape(-1)]
    elif record["process"] == "Conv":
        plain["weight"] = _conv_weight(cls, weight, plain, shape)
    else:
        rank = record["rank"]
        plain["weight"] = from_lava(weight >> 1, rank, shape, kept=1)
        if cls is Gather:
            order = np.append(np.argsort(positions(port).reshape(-1)), -1)
            index = from_lava(tensors[record["index"]], rank, tuple(record["index_shape"]), kept=1)
            plain["index"] = order[index]
    plain["weight"] = np.asarray(plain["weight"] << record["exponent"])
    return Projection(record["source"], cls(**plain), record["role"])


def _conv(kernel: kernels.Kernel) -> tuple[Json, Tensors]:
    record = {
        "process": "Conv",
        "stride": kernel.strides[::-1],
        "padding": kernel.padding[::-1],
        "dilation": kernel.dilations[::-1],
        "groups": kernel.groups,
    }
    return record, {"weight": kernels.flipped(kernel.weight)}


def _conv_weight(cls: type[LinearMap], weight: Array, plain: Json, shape: Shape) -> Array:
    dilations = plain.get("dilations", (1,) * len(plain["strides"]))
    kernel = kernels.from_conv(kernels.unflipped(weight), plain["pads"], dilations)
    return kernel if cls is Conv else kernels.pool_weight(kernel, shape)


def _taps(linear: LinearMap, source: Shape, port: Shape) -> tuple[Json, Tensors]:
    """Return the Sparse record; both tensors broadcast to (*output in Lava's order, taps)."""
    index, weight = taps(linear, source)
    rank = index.ndim - 1
    record: Json = {"process": "Sparse", "rank": rank}
    tensors = {"weight": 2 * to_lava(weight, rank, kept=1)}
    if not isinstance(linear, Identity) or source != port:
        places = np.append(positions(port).reshape(-1), -1)
        tensors["index"] = to_lava(places[index], rank, kept=1)
        record["index_shape"] = index.shape[:-1]
    return record, tensors


def taps(linear: LinearMap, source: Shape) -> tuple[Array, Array]:
    """Return ``(index, weight)``, both ``(*output, taps)`` or broadcastable to it, index into the flat source or -1."""
    grid = np.arange(int(np.prod(source))).reshape(source)
    weight = linear.weight.astype(np.int64)
    if isinstance(linear, Identity):
        return grid[..., None], _column(weight, grid.ndim)
    if isinstance(linear, Gather):
        return linear.index[..., None], _column(weight, linear.index.ndim)
    if isinstance(linear, Dense):
        return grid[..., None, :], weight.reshape((1,) * (grid.ndim - 1) + weight.shape)
    if not isinstance(linear, Conv | SumPool):
        assert_never(linear)
    kernel = linear.kernel if isinstance(linear, SumPool) else weight.shape[2:]
    dilations = (1,) * len(kernel) if isinstance(linear, SumPool) else linear.dilations
    view = arithmetic.windows(grid[None] + 1, kernel, linear.strides, dilations, linear.pads)[0] - 1  # padding is -1
    n = len(kernel)
    if isinstance(linear, SumPool):
        return view.reshape(*view.shape[: n + 1], -1), _column(weight, n + 1)
    space, per_group = view.shape[1 : n + 1], source[0] // linear.groups
    groups = view.reshape(linear.groups, per_group, *space, -1)
    rows = np.moveaxis(groups, 1, -2).reshape(linear.groups, *space, -1)
    index = np.repeat(rows, weight.shape[0] // linear.groups, axis=0)
    return index, weight.reshape(weight.shape[0], *(1,) * n, -1)


def _column(weight: Array, rank: int) -> Array:
    return weight.reshape((1,) * (rank - weight.ndim) + weight.shape)[..., None]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
