"""Products as records of our process that multiplies two messages of one sample, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.lava.layout import from_lava, to_lava
from sfn_compile.files.program_files import smallest_int
from sfn_compile.program.network import Elementwise, Matmul, Product, ProductForm, Shape

Array = NDArray[Any]
Json = dict[str, Any]
Tensors = dict[str, Array]


def encode(p: Product, key: str, left: Shape, right: Shape) -> tuple[Json, Tensors]:
    """Return the record and the tensor of a product of values of shapes ``left`` and ``right``.

    The weight of a matrix product stays in the order of a sample, that of the others is turned as the ports are.
    """
    weight = p.form.weight.astype(np.int64)
    held = _held(p.form, weight, len(left))
    record: Json = {"form": type(p.form).__name__, "left": p.left, "right": p.right, "weight": f"{key}_weight"}
    record |= {"left_shape": left, "right_shape": right, "weight_shape": weight.shape}
    return record, {f"{key}_weight": smallest_int(held)}


def _held(form: ProductForm, weight: Array, rank: int) -> Array:
    """Return a product's weight in the order in which its process reads it."""
    if isinstance(form, Matmul):
        return weight
    if isinstance(form, Elementwise):
        return to_lava(weight, rank)
    assert_never(form)


def decode(record: Json, tensors: Tensors) -> Product:
    """Return the product of a record, its weight read from ``tensors``."""
    if record["form"] == "Matmul":
        return Product(record["left"], record["right"], Matmul(tensors[record["weight"]].astype(np.int64)))
    if record["form"] != "Elementwise":
        raise ValueError(f"no product is called {record['form']!r}")
    weight = from_lava(tensors[record["weight"]], len(record["left_shape"]), tuple(record["weight_shape"]))
    return Product(record["left"], record["right"], Elementwise(weight.astype(np.int64)))
