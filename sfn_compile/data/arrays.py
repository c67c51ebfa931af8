"""Arrays that are in memory: of one input alone, with labels beside it, or by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import LABEL_NAMES, Data, selected
from ..foundation.samples import Samples
from .given import Asked, as_array, held

Array = NDArray[Any]
SOURCE = "arrays"


def is_array(what: Any) -> bool:
    """Whether something is an array or a tensor."""
    return hasattr(what, "__array__") and hasattr(what, "shape")


def takes(what: Any) -> bool:
    """Whether data are arrays: one, a tuple of samples and labels, or several by name."""
    return is_array(what) or isinstance(what, Mapping) or (isinstance(what, tuple) and all(map(is_array, what)))


def read(what: Any, asked: Asked) -> Data:
    """Return the samples of arrays. Raises SFN302 to SFN307."""
    arrays = {name: held(as_array(value)) for name, value in named(what, asked).items()}
    x, labels, label_name = selected(arrays, asked.inputs, "data", asked.samples, asked.seed, asked.needs_labels)
    return Data(x, labels, SOURCE, sha256_of(x, labels), label_name)


def named(what: Any, asked: Asked) -> dict[str, Any]:
    """Return arrays by name: those of a tuple are the inputs in order, and labels behind them."""
    if isinstance(what, Mapping):
        return {str(name): value for name, value in what.items()}
    parts = list(what) if isinstance(what, tuple | list) else [what]
    names = [i.name for i in asked.inputs]
    return dict(zip((*names, LABEL_NAMES[0]), parts, strict=False))


def sha256_of(x: Samples, labels: Array | None) -> str:
    """Return a sha256 over samples and labels: names, types, shapes and numbers."""
    sha = hashlib.sha256()
    for name, values in {**x, **({} if labels is None else {LABEL_NAMES[0]: labels})}.items():
        sha.update(f"{name} {values.dtype.str} {values.shape}".encode())
        for start in range(0, len(values), 256):
            sha.update(np.ascontiguousarray(values[start : start + 256]).tobytes())
    return sha.hexdigest()
