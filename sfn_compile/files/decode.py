"""Trees of JSON and arrays to the classes of a Program, every field held to the type that its class declares."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..foundation import diagnostics
from ..foundation.diagnostics import CompileError, fail
from ..program import network

Array = NDArray[Any]
# Whatever a closed union holds can be read: a kind that is added there is added here.
_UNIONS: tuple[Any, ...] = (
    network.Step, network.LinearMap, network.ProductForm, network.Ladder, network.MoveOp, network.Relation,
)  # fmt: skip
CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (
        *(member for union in _UNIONS for member in get_args(union)), network.Projection, network.Product,
        network.RowSum, network.HostOp, network.Encoding, network.Decoding, network.Part, network.Program,
        network.Clock, network.Pace, diagnostics.Origin,
    )
}  # fmt: skip
_INTEGER_LIMIT = 1 << 63
# Every other array field of the classes holds integers, but for the weights of maps that the host applies.
_REAL = {("Encoding", "step"), ("Decoding", "step"), ("Part", "step")}


def decode(tree: Any, arrays: Mapping[str, Array], at: str = "program") -> Any:
    """Return the object that a tree describes: lists become tuples, ``{"array": name}`` the array of that name.

    ``at`` names the place in messages. Raises SFN503 for an unknown class, field or array; of what type the fields are
    is :func:`check_types`'s question.
    """
    if isinstance(tree, list):
        return tuple(decode(item, arrays, f"{at}[{i}]") for i, item in enumerate(tree))
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {"array"}:
        return _array(tree["array"], arrays, at)
    name = tree.get("class")
    if not isinstance(name, str) or name not in CLASSES:
        raise damaged(at, f"no class called {str(name)[:40]!r}")
    return _made(CLASSES[name], {k: v for k, v in tree.items() if k != "class"}, arrays, at)


def damaged(at: str, what: str) -> CompileError:
    """Return SFN503 for a place in a file of a build that holds something else than its writer puts there."""
    return fail("SFN503", f"{at}: {what}", fix="compile again")


def _array(name: Any, arrays: Mapping[str, Array], at: str) -> Array:
    if not isinstance(name, str) or name not in arrays:
        raise damaged(at, f"there is no array {str(name)[:40]!r}")
    if arrays[name].dtype.kind not in "iufb":
        raise damaged(at, f"array {name!r} holds no numbers but {arrays[name].dtype}")
    return np.asarray(arrays[name])


def _made(cls: type, given: Mapping[str, Any], arrays: Mapping[str, Array], at: str) -> Any:
    hints, needed = _declared(cls)
    odd = sorted(given.keys() - hints.keys()) + sorted(needed - given.keys())
    if odd:
        raise damaged(at, f"{cls.__name__} and the field {odd[0][:40]!r} do not belong together, or it is missing")
    return cls(**{name: decode(value, arrays, f"{at}.{name}") for name, value in given.items()})


def check_types(found: Any, at: str = "program", on_host: bool = False) -> None:
    """Raise SFN503, naming the place, where a field of an object or of one inside it is not of its declared type.

    ``on_host``: it is part of a host operation, where weights are real numbers.
    """
    if isinstance(found, tuple):
        for i, one in enumerate(found):
            check_types(one, f"{at}[{i}]", on_host)
    cls: Any = type(found)
    if cls not in CLASSES.values():
        return
    hints, _ = _declared(cls)
    for name, hint in hints.items():
        value = getattr(found, name)
        real = (cls.__name__, name) in _REAL or (on_host and name == "weight")
        if not conforms(value, hint) or not _right_numbers(real, value):
            raise damaged(f"{at}.{name}", f"{_said(value)} is no {cls.__name__}.{name}")
        check_types(value, f"{at}.{name}", on_host or cls is network.HostOp)


@cache
def _declared(cls: type) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a dataclass's fields, and their names: a file holds all of them, defaults too."""
    hints = get_type_hints(cls)
    own = [f for f in fields(cls) if f.init]
    return {f.name: hints[f.name] for f in own}, frozenset(f.name for f in own if network.OMITTED not in f.metadata)


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value is of a declared type: classes, unions, literals, tuples and arrays.

    >>> conforms((1, 2), tuple[int, ...]), conforms(True, int), conforms(None, int | None)
    (True, False, True)
    """
    kind = get_origin(hint)
    if hint is Any:
        return True
    if kind in (Union, types.UnionType):
        return any(conforms(value, one) for one in get_args(hint))
    if kind is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if kind is tuple:
        return isinstance(value, tuple) and _all_conform(value, get_args(hint))
    if hint is int:
        return type(value) is int and abs(value) < _INTEGER_LIMIT
    if hint is float:  # as in Python, an integer will do
        return isinstance(value, float) or type(value) is int
    return isinstance(value, kind or hint)


def _all_conform(values: tuple[Any, ...], hints: tuple[Any, ...]) -> bool:
    if hints[-1:] == (Ellipsis,):
        return all(conforms(value, hints[0]) for value in values)
    return len(values) == len(hints) and all(map(conforms, values, hints))


def _right_numbers(real: bool, value: Any) -> bool:
    """Return whether an array field holds integers, or finite real numbers where it holds such."""
    if not isinstance(value, np.ndarray):
        return True
    if real:
        return value.dtype.kind == "f" and bool(np.isfinite(value).all())
    return value.dtype.kind == "i"


def _said(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)[:60]
