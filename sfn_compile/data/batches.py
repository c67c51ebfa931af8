"""Batches: of a torch DataLoader or Dataset, a generator, a list, or a function that yields them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import LABEL_NAMES, Data, check_shape, converted
from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import ModelInput
from .arrays import named, sha256_of
from .gather import Gathered, gathered
from .given import Asked, as_array, held

Array = NDArray[Any]
SOURCE = "batches"


def takes(what: Any) -> bool:
    """Whether data can be walked through."""
    return not isinstance(what, str | bytes) and (hasattr(what, "__iter__") or _is_dataset(what))


def _is_dataset(what: Any) -> bool:
    return hasattr(what, "__getitem__") and hasattr(what, "__len__")


def read(what: Any, asked: Asked, name: str = SOURCE) -> Data:
    """Return the first ``samples`` of batches, all of them where nothing says how many.

    A batch is an array, a tuple of the inputs in order and labels behind them, or arrays by name; a single sample
    without a batch axis is one, too. Raises SFN302 to SFN307, SFN320.
    """
    wanted = asked.samples or asked.most
    labels: list[Array | None] = []
    into, n = gathered(asked.inputs), 0
    for number, batch in enumerate(_walked(what, name)):
        arrays = _arrays(batch, asked, f"{name}, batch {number}")
        found = {i.name: _taken(arrays[i.name], i, f"{name}, batch {number} [{i.name}]") for i in asked.inputs}
        size = _size(found, f"{name}, batch {number}")
        keep = size if wanted is None else min(size, wanted - n)
        _add(into, found, keep)
        labels.append(_labels(arrays, size, keep))
        n += keep
        asked.progress("read data", n, wanted or _total(what, number, n))
        if n == wanted:
            break
    if not n:
        raise fail("SFN320", "it gives no batch", name, "give one that has not been walked through yet, or a function")
    x = {i: one.array() for i, one in into.items()}
    known = [one for one in labels if one is not None]
    marks = np.concatenate(known) if len(known) == len(labels) else None
    return Data(x, marks, name, sha256_of(x, marks))


def _walked(what: Any, name: str) -> Iterator[Any]:
    """Yield batches; what fails in the user's own code is told with its message. Raises SFN320."""
    try:
        if hasattr(what, "__iter__"):
            yield from what
        else:
            yield from (what[i] for i in range(len(what)))
    except (CompileError, GeneratorExit):
        raise
    except Exception as error:  # whatever the user's own code raises
        raise fail("SFN320", f"{type(error).__name__}: {error}", name, "it is your code that raised this") from error


def _arrays(batch: Any, asked: Asked, where: str) -> dict[str, Array]:
    """Return the arrays of a batch by name. Raises SFN302."""
    arrays = {name: as_array(value) for name, value in named(batch, asked).items() if value is not None}
    if isinstance(batch, Mapping) and len(asked.inputs) == 1 and asked.inputs[0].name not in arrays and "x" in arrays:
        arrays[asked.inputs[0].name] = arrays["x"]
    lacking = [i.name for i in asked.inputs if i.name not in arrays]
    if lacking:
        have = ", ".join(map(repr, arrays)) or "nothing"
        raise fail("SFN302", f"nothing for input {lacking[0]!r} (there: {have})", where,
                   "yield a tuple of the inputs in order, labels behind them, or a dict by name")  # fmt: skip
    return arrays


def _taken(array: Array, source: ModelInput, where: str) -> Array:
    """Return the samples of a batch in the input's own type."""
    array = array[None] if array.shape == source.shape else array
    check_shape(held(array), source, where)
    return converted(array, source, where)


def _size(found: Mapping[str, Array], where: str) -> int:
    """Return how many samples a batch has. Raises SFN303."""
    counts = {name: len(values) for name, values in found.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{n} of {name!r}" for name, n in counts.items())
        raise fail("SFN303", f"the inputs have different numbers of samples: {said}", where)
    return next(iter(counts.values()))


def _add(into: Mapping[str, Gathered], found: Mapping[str, Array], keep: int) -> None:
    for name, values in found.items():
        into[name].add(values[:keep])


def _labels(arrays: Mapping[str, Array], size: int, keep: int) -> Array | None:
    """Return the labels of a batch, None where it has none for every sample."""
    labels = next((arrays[name] for name in LABEL_NAMES if name in arrays), None)
    if labels is None or labels.dtype.kind not in "fiub":
        return None
    labels = labels[None] if size == 1 and (labels.ndim == 0 or len(labels) != 1) else labels
    return labels[:keep] if len(labels) == size else None


def _total(what: Any, number: int, n: int) -> int:
    """Return how many samples will have come in the end, as far as can be told."""
    try:
        return max(n, round(len(what) * n / (number + 1)))
    except TypeError:
        return n
