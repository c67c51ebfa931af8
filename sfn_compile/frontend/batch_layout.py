"""Where the batch is in an ONNX tensor. Values of the graph have no batch axis; tensors of the file may have it
anywhere, alone or merged with axes of the sample, as in torch's attention: ``(tokens, batch * heads, width)``.

Row-major order is kept: the tensor is the sample with the batch put in at one place, and nothing else is moved. So a
Reshape keeps that place, and it is enough to know which axis it falls into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Axis ``axis`` of the tensor counts ``outer * batch * inner``, in row-major order.

    Where ``outer`` and ``inner`` are 1 it is the batch alone, and no axis of the sample. Else it is the axis
    ``outer * inner`` of the sample. Axis -1 is none of the tensor's: the whole tensor is one sample, as it is in a
    model that is made for a batch of one.
    """

    axis: int = 0
    outer: int = 1
    inner: int = 1

    @property
    def whole(self) -> bool:
        """Whether no axis holds the batch."""
        return self.axis < 0

    @property
    def merged(self) -> bool:
        """Whether every axis is one of the sample: the batch shares one of them, or has none."""
        return self.whole or self.outer * self.inner > 1

    def rank(self, shape: Shape) -> int:
        """Return the rank of the tensor of samples of ``shape``."""
        return len(shape) + (not self.merged)

    def dims(self, shape: Shape, batch: int = 1) -> Shape:
        """Return the tensor's shape for samples of ``shape``."""
        if self.whole:
            return shape
        alone = shape if self.merged else (*shape[: self.axis], 1, *shape[self.axis :])
        return (*alone[: self.axis], alone[self.axis] * batch, *alone[self.axis + 1 :])

    def sample_shape(self, dims: Sequence[int], batch: int = 1) -> Shape:
        """Return the shape of one sample of a tensor of shape ``dims``."""
        if self.whole:
            return tuple(dims)
        here = (dims[self.axis] // batch,) if self.merged else ()
        return (*dims[: self.axis], *here, *dims[self.axis + 1 :])

    def before(self, shape: Shape) -> int:
        """Return how many numbers of a sample of ``shape`` are before the batch in row-major order."""
        return 1 if self.whole else math.prod(shape[: self.axis]) * self.outer

    def sample_axis(self, axis: int) -> int | None:
        """Return the sample's axis that is axis ``axis`` of the tensor, None where that holds the batch."""
        if axis == self.axis:
            return None
        return axis if self.merged or axis < self.axis else axis - 1

    def shifted(self, by: int) -> Layout:
        """Return the layout with ``by`` more axes before the batch."""
        return self if self.whole else replace(self, axis=self.axis + by)

    def says(self) -> str:
        """Return where the batch is, for messages."""
        return "merges the batch with other axes" if self.merged else f"moves the batch to axis {self.axis}"


FRONT = Layout()
WHOLE = Layout(-1)


def placements(dims: Sequence[int], before: int, batch: int) -> list[Layout]:
    """Return every layout of a tensor of shape ``dims`` with ``before`` numbers of the sample before the batch.

    None: the batch falls apart over several axes. Several: for a batch of one, which fits anywhere between two numbers.
    """
    found = []
    for axis, length in enumerate(dims):
        ahead = math.prod(dims[:axis])
        if ahead and before % ahead == 0 and length % (before // ahead * batch) == 0:
            found.append(Layout(axis, before // ahead, length // (before // ahead * batch)))
    return found


def likeliest(found: Sequence[Layout], dims: Sequence[int], behind: int | None, stated: int | None) -> Layout:
    """Return which of several placements the exporter will have meant; any of them is right for a batch of one.

    ``stated`` is the axis whose length the file leaves open, ``behind`` the length of an axis right behind the batch so
    far. An axis of the batch alone is the likeliest; then the axis left open; a last axis is seldom merged, and neither
    is one that stays as long as it was. :func:`apart` takes another where an operator shows that the guess was wrong.
    """

    def unlikely(layout: Layout) -> tuple[bool, ...]:
        last, stays = layout.axis == len(dims) - 1, layout.outer == 1 and dims[layout.axis] == behind
        return (layout.merged, layout.axis != stated, layout.merged and last, layout.merged and stays,
                layout.outer > 1)  # fmt: skip

    return min(found, key=unlikely)


def apart(layout: Layout, shape: Shape, axes: Sequence[int]) -> Layout | None:
    """Return a layout of the same numbers for a batch of one that leaves the tensor's ``axes`` alone, None without one.

    The sample's shape is the same under both.
    """
    for other in placements(layout.dims(shape), layout.before(shape), 1):
        if other.merged == layout.merged and other.axis not in axes:
            return other
    return None


def common(layouts: Sequence[Layout], shapes: Sequence[Shape], movable: bool) -> Layout | None:
    """Return the layout of a result that tensors broadcast into (axes count from the last), None where they differ.

    ``movable``: the batch is one, so that it may be taken to be in a neighbouring axis.
    """
    rank = max(layout.rank(s) for layout, s in zip(layouts, shapes, strict=True))
    options = []
    for layout, shape in zip(layouts, shapes, strict=True):
        others = placements(layout.dims(shape), layout.before(shape), 1) if movable else []
        same = [layout, *(o for o in others if o.merged == layout.merged)]
        options.append([o.shifted(rank - layout.rank(shape)) for o in same])
    return next((o for o in options[0] if all(o in more for more in options[1:])), None)
