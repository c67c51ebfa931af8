"""Random moves for the generator of graphs: the same numbers in other places."""

from __future__ import annotations

import math

from .layers import Maker
from .writer import Value, Writer


def reshape(g: Writer, x: Value) -> Value | None:
    """Reshape to other axes of the same size, Flatten."""
    size = math.prod(x.shape)
    if g.rng.random() < 0.4:
        return g.node("Flatten", x, axis=1)
    front = g.rng.choice([d for d in range(1, size + 1) if size % d == 0])
    shape = g.rng.choice([(size,), (front, size // front), (1, front, size // front)])
    return g.node("Reshape", x, g.ints(g.batch if g.fixed else g.rng.choice([0, -1]), *shape))


def transpose(g: Writer, x: Value) -> Value | None:
    """Any permutation that leaves the samples in front."""
    axes = list(range(1, len(x.shape) + 1))
    g.rng.shuffle(axes)
    return g.node("Transpose", x, perm=[0, *axes]) if len(axes) > 1 else None


def unsqueeze(g: Writer, x: Value) -> Value | None:
    """One more axis of length 1."""
    if len(x.shape) > 3:
        return None
    axis = g.rng.randint(1, len(x.shape) + 1)
    return g.node("Unsqueeze", x, g.ints(axis)) if g.opset >= 13 else g.node("Unsqueeze", x, axes=[axis])


def squeeze(g: Writer, x: Value) -> Value | None:
    """Without an axis of length 1."""
    axes = [a + 1 for a, d in enumerate(x.shape) if d == 1]
    if not axes or len(x.shape) < 2:
        return None
    axis = g.rng.choice(axes)
    return g.node("Squeeze", x, g.ints(axis)) if g.opset >= 13 else g.node("Squeeze", x, axes=[axis])


def cut(g: Writer, x: Value) -> Value | None:
    """Slice of one or two axes, backwards and in steps too."""
    axes = g.rng.sample(range(1, len(x.shape) + 1), g.rng.randint(1, min(2, len(x.shape)))) if x.shape else []
    if not axes:
        return None
    starts, ends, steps = [], [], []
    for axis in axes:
        size = x.shape[axis - 1]
        step = g.rng.choice([1, 1, 2, -1, -2]) if g.opset >= 10 else 1
        a, b = sorted((g.rng.randint(0, size - 1), g.rng.randint(1, size)))
        forward = step > 0
        starts.append(a if forward else size - 1)
        ends.append(max(b, a + 1) if forward else g.rng.choice([-size - 1, a - size]))
        steps.append(step)
    if g.opset < 10:
        return g.node("Slice", x, starts=starts, ends=ends, axes=axes)
    return g.node("Slice", x, g.ints(*starts), g.ints(*ends), g.ints(*axes), g.ints(*steps))


def split(g: Writer, x: Value) -> Value | None:
    """Split into two pieces that are joined again, turned around or added."""
    axis = g.rng.randint(1, len(x.shape)) if x.shape else 0
    if not axis or x.shape[axis - 1] % 2:
        return None
    half = x.shape[axis - 1] // 2
    if g.opset >= 13:
        a, b = g.several("Split", 2, x, g.ints(half, half), axis=axis)
    else:
        a, b = g.several("Split", 2, x, axis=axis, split=[half, half])
    return g.node("Concat", b, a, axis=axis) if g.rng.randrange(2) else g.node("Add", a, b)


def concat(g: Writer, x: Value) -> Value | None:
    """A value beside a function of it."""
    other = g.node(g.rng.choice(["Relu", "Neg", "Sigmoid"]), x)
    return g.node("Concat", x, other, axis=g.rng.randint(1, len(x.shape))) if x.shape else None


def pad(g: Writer, x: Value) -> Value | None:
    """Pad by zeros, a constant, the edge or reflection."""
    mode = g.rng.choice(["constant", "constant", "edge", "reflect"])
    limits = [d - 1 if mode == "reflect" else 2 for d in x.shape]
    before, after = ([0, *(g.rng.randint(0, min(1, m)) for m in limits)] for _ in range(2))
    if g.opset < 11:
        return g.node("Pad", x, mode=mode, pads=before + after)
    number = [g.constant(g.rng.choice([0.0, 0.0, 0.5]))] if mode == "constant" else []
    return g.node("Pad", x, g.ints(*before, *after), *number, mode=mode)


def gather(g: Writer, x: Value) -> Value | None:
    """Constant places of one axis, in any order."""
    if not x.shape:
        return None
    axis = g.rng.randint(1, len(x.shape))
    places = [g.rng.randrange(x.shape[axis - 1]) for _ in range(g.rng.randint(1, x.shape[axis - 1] + 1))]
    if len(x.shape) > 1 and g.rng.random() < 0.3:
        return g.node("Gather", x, g.constant(places[0], "int64"), axis=axis)
    return g.node("Gather", x, g.ints(*places), axis=axis)


def tile(g: Writer, x: Value) -> Value | None:
    """The value several times."""
    return g.node("Tile", x, g.ints(1, *(g.rng.choice([1, 1, 2]) for _ in x.shape)))


def expand(g: Writer, x: Value) -> Value | None:
    """Axes of length 1 made longer."""
    if g.opset < 8 or 1 not in x.shape:
        return None
    return g.node("Expand", x, g.ints(1, *(g.rng.randint(1, 3) if d == 1 else d for d in x.shape)))


def blocks(g: Writer, x: Value) -> Value | None:
    """Channels to pixels, or back."""
    if len(x.shape) != 3:
        return None
    if x.shape[0] % 4 == 0:
        mode = {"mode": g.rng.choice(["DCR", "CRD"])} if g.opset >= 11 else {}
        return g.node("DepthToSpace", x, blocksize=2, **mode)
    return g.node("SpaceToDepth", x, blocksize=2)


def resize(g: Writer, x: Value) -> Value | None:
    """Resize or Upsample of maps by whole factors or to a size."""
    if len(x.shape) != 3:
        return None
    scales = g.constant([1.0, 1.0, g.rng.choice([1.0, 2.0, 1.5]), g.rng.choice([1.0, 2.0])], "float32")
    mode = g.rng.choice(["nearest", "linear"])
    if g.opset < 9:
        return g.node("Upsample", x, scales=g.constants[scales].tolist(), mode=mode)
    if g.opset < 11:
        return g.node("Upsample" if g.opset == 9 else "Resize", x, scales, mode=mode)
    where = g.rng.choice(["half_pixel", "asymmetric", "align_corners"])
    empty = "" if g.opset >= 13 else g.constant([], "float32")
    return g.node("Resize", x, empty, scales, mode=mode, coordinate_transformation_mode=where)


MOVES: tuple[Maker, ...] = (
    reshape, reshape, transpose, unsqueeze, squeeze, cut, split, concat, pad, gather, tile, expand, blocks, resize,
)  # fmt: skip
