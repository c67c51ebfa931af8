"""Damage to the files of a build: whole files, and single numbers, edges and fields, generated from the files."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from onnx import numpy_helper

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Mutation:
    """One change of one file; ``kind`` is what the table of outcomes is ordered by."""

    file: str
    kind: str
    label: str
    apply: Change

    def __str__(self) -> str:
        return f"{self.file}: {self.label}"


# -- whole files ----------------------------------------------------------------------------------------------------
def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _noise(path: Path) -> None:
    path.write_bytes(random.Random(path.name).randbytes(300))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def _text(text: str) -> Change:
    return lambda path: path.write_text(text, encoding="utf-8") and None


def _pickled(path: Path) -> None:
    np.savez(path.with_suffix(".tmp.npz"), a00000=np.array([{"an": "object"}], dtype=object))
    path.with_suffix(".tmp.npz").replace(path)


WHOLE: dict[str, Change] = {
    "removed": Path.unlink, "emptied": lambda p: p.write_bytes(b"") and None, "truncated": _truncate, "noise": _noise,
    "one byte changed": _flip, "a folder": _folder, "a dangling link": _dangling,
}  # fmt: skip
NOT_UTF8 = b"\xff\xfe\x00{"
JSON_TEXTS = ("[]", "{}", "null", "3", '"text"', "NaN", "[[[[]]]]", '{"format": 3}', "[" * 3000 + "]" * 3000)


def whole(file: str) -> Iterator[Mutation]:
    """Yield the damages to a file as a whole, those of its format included."""
    for label, change in WHOLE.items():
        yield Mutation(file, label, label, change)
    if file.endswith(".json"):
        for text in JSON_TEXTS:
            yield Mutation(file, "other JSON", f"the text {text[:20]}", _text(text))
        yield Mutation(file, "other JSON", "not UTF-8", lambda p: p.write_bytes(NOT_UTF8) and None)
    if file.endswith(".npz"):
        yield Mutation(file, "a pickled object", "a pickled object", _pickled)


# -- JSON -----------------------------------------------------------------------------------------------------------
ODD = (None, [], {}, "text", -1, 0, 2.5, True, 10**30, -(10**400), float("nan"), float("inf"), 1e308, [[None]],
       {"class": "Dense"}, {"array": "nowhere"}, "../../x", [3, "x"])  # fmt: skip


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from _places(tree[key], (*at, key))


def _with(tree: Any, at: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    tree = copy.deepcopy(tree)
    inner = tree
    for key in at[:-1]:
        inner = inner[key]
    change(inner, at[-1])
    return tree


def _remove(inner: Any, key: Any) -> None:
    del inner[key]


def _doubled(inner: Any, key: Any) -> None:
    if isinstance(inner, list):
        inner.insert(key, copy.deepcopy(inner[key]))
    else:
        inner[f"{key}x"] = inner.pop(key)


def _set(value: Any) -> Callable[[Any, Any], None]:
    def change(inner: Any, key: Any) -> None:
        inner[key] = value

    return change


def json_fields(tree: Any, seed: int, most: int) -> Iterator[tuple[str, Any]]:
    """Yield (what was done, the changed tree) for at most ``most`` places, half with a value of another type."""
    rng = random.Random(seed)
    places = list(_places(tree))
    for i, at in enumerate(rng.sample(places, min(most, len(places)))):
        where = "/".join(map(str, at))
        if i % 4 == 0:
            yield f"{where} removed", _with(tree, at, _remove)
        elif i % 4 == 1:
            yield f"{where} doubled or renamed", _with(tree, at, _doubled)
        else:
            value = rng.choice([v for v in ODD if v is not _at(tree, at)])
            yield f"{where} = {str(value)[:20]}", _with(tree, at, _set(value))


def json_numbers(tree: Any, seed: int, most: int) -> Iterator[tuple[str, Any]]:
    """Yield trees with one number or one name changed to another of the same type."""
    rng = random.Random(seed)
    leaves = [at for at in _places(tree) if not isinstance(_at(tree, at), dict | list)]
    for at in rng.sample(leaves, min(most, len(leaves))):
        old = _at(tree, at)
        value = _neighbour(old, rng)
        yield f"{'/'.join(map(str, at))}: {str(old)[:20]} -> {str(value)[:20]}", _with(tree, at, _set(value))


def _neighbour(old: Any, rng: random.Random) -> Any:
    if isinstance(old, bool) or old is None:
        return not old
    if isinstance(old, int):
        return old + rng.choice((-1, 1, 2))
    return old * 1.5 + 0.1 if isinstance(old, float) else f"{old}x"


def _at(tree: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        tree = tree[key]
    return tree


# -- arrays ---------------------------------------------------------------------------------------------------------
def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as npz:
        return dict(npz)


def _write_npz(arrays: dict[str, np.ndarray]) -> Change:
    def change(path: Path) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        path.write_bytes(buffer.getvalue())

    return change


def one_changed(x: np.ndarray, rng: random.Random) -> np.ndarray:
    """A copy of an array that is not empty with one element changed, in a type that holds it."""
    if x.dtype.kind in "US":
        y = x.astype(f"{x.dtype.kind}{x.dtype.itemsize // max(1, np.dtype(x.dtype.kind + '1').itemsize) + 1}")
        y.flat[rng.randrange(x.size)] = str(x.flat[0]) + "x"
        return y
    y = x.astype(np.int64) if x.dtype.kind in "iu" else x.copy()
    at = rng.randrange(x.size)
    y.flat[at] = y.flat[at] + 1 if x.dtype.kind in "iu" else y.flat[at] * 1.5 + 1
    return y


ARRAY_SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "text": lambda x: np.full(x.shape, "x"), "float": lambda x: x.astype(np.float64) + 0.5 if x.dtype.kind in "iuf"
    else np.zeros(x.shape), "complex": lambda x: np.zeros(x.shape, complex), "NaN": lambda x: np.full(x.shape, np.nan),
    "empty": lambda x: x.reshape(-1)[:0], "one more axis": lambda x: x[None], "flat": lambda x: x.reshape(-1),
    "one element less": lambda x: x.reshape(-1)[:-1], "int64 extremes": lambda x: np.full(x.shape, -(2**63)),
    "uint64 extremes": lambda x: np.full(x.shape, 2**64 - 1, np.uint64), "times": lambda x: np.zeros(x.shape, "M8[s]"),
    "structured": lambda x: np.zeros(x.shape, [("a", "i4")]), "bool": lambda x: np.ones(x.shape, bool),
    "zeros": lambda x: np.zeros_like(x),
}  # fmt: skip


def npz_arrays(arrays: dict[str, np.ndarray], seed: int, most: int) -> Iterator[tuple[str, Change]]:
    """Yield what was done and how, for at most ``most`` arrays that become something else."""
    rng, names = random.Random(seed), sorted(arrays)
    for _ in range(most):
        name = rng.choice(names)
        label, change = rng.choice(list(ARRAY_SHAPES.items()))
        yield f"{name} {label}", _write_npz({**arrays, name: change(arrays[name])})
    name = rng.choice(names)
    yield f"{name} removed", _write_npz({k: v for k, v in arrays.items() if k != name})
    yield "an array more", _write_npz({**arrays, "more": np.zeros(3)})


def npz_numbers(arrays: dict[str, np.ndarray], seed: int, most: int) -> Iterator[tuple[str, Change]]:
    """Yield changes of one number each."""
    rng, names = random.Random(seed), sorted(k for k, v in arrays.items() if v.size)
    for _ in range(most):
        name = rng.choice(names)
        yield f"{name} one number", _write_npz({**arrays, name: one_changed(arrays[name], rng)})


# -- ONNX -----------------------------------------------------------------------------------------------------------
def onnx_changes(model: onnx.ModelProto, seed: int, most: int) -> Iterator[tuple[str, Change]]:
    """Yield changes of one constant, edge, operator, attribute, output or text each."""
    rng = random.Random(seed)
    for _ in range(most):
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        what = rng.choice(ONNX)(copied, rng)
        if what and copied != model:
            yield what, _writes(copied.SerializeToString())


def _writes(content: bytes) -> Change:
    return lambda path: path.write_bytes(content) and None


def _constant(model: onnx.ModelProto, rng: random.Random) -> str:
    tensor = rng.choice(model.graph.initializer) if model.graph.initializer else None
    array = None if tensor is None else numpy_helper.to_array(tensor)
    if array is None or not array.size:
        return ""
    tensor.CopyFrom(numpy_helper.from_array(one_changed(array, rng).astype(array.dtype), tensor.name))
    return f"constant {tensor.name}"


def _edge(model: onnx.ModelProto, rng: random.Random) -> str:
    node = rng.choice(model.graph.node)
    if not node.input:
        return ""
    node.input[0] = rng.choice([o for n in model.graph.node for o in n.output] + ["nothing"])
    return f"edge into {node.name or node.output[0]}"


def _operator(model: onnx.ModelProto, rng: random.Random) -> str:
    node = rng.choice(model.graph.node)
    node.op_type = rng.choice(("Identity", "Neg", "Relu", "Nothing"))
    return f"operator of {node.name or node.output[0]}"


def _attribute(model: onnx.ModelProto, rng: random.Random) -> str:
    found = [(n, a) for n in model.graph.node for a in n.attribute if a.ints]
    if not found:
        return ""
    node, attribute = rng.choice(found)
    attribute.ints[0] += 1
    return f"attribute {attribute.name} of {node.name or node.output[0]}"


def _no_node(model: onnx.ModelProto, rng: random.Random) -> str:
    del model.graph.node[rng.randrange(len(model.graph.node))]
    return "a node removed"


def _no_output(model: onnx.ModelProto, rng: random.Random) -> str:
    del model.graph.output[:]
    return "no outputs"


def _end(model: onnx.ModelProto, rng: random.Random) -> str:
    ends = model.graph.input if rng.random() < 0.5 else model.graph.output
    ends[0].type.tensor_type.elem_type = rng.choice((0, 8, 11, 99))
    return "type of an end"


def _metadata(model: onnx.ModelProto, rng: random.Random) -> str:
    if not model.metadata_props:
        return ""
    for entry in model.metadata_props:
        entry.value = rng.choice(("", "[]", "{}", '{"values": 3}', '{"values": {"x": {}}}', "null"))
    return "metadata"


ONNX = (_constant, _constant, _edge, _operator, _attribute, _no_node, _no_output, _end, _metadata)


# -- HDF5 (.nir) ----------------------------------------------------------------------------------------------------
def h5_names(path: Path) -> list[str]:
    found: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def h5_changes(names: list[str], seed: int, most: int) -> Iterator[tuple[str, Change]]:
    """Yield changes of one dataset each: a number, a type, a shape, gone."""
    rng = random.Random(seed)
    for _ in range(most):
        name, how = (
            rng.choice(names),
            rng.choice(("number", "number", "text", "empty", "one more axis", "removed", "more")),
        )
        yield f"{name} {how}", _h5(name, how, rng.randrange(2**30))


def _h5(name: str, how: str, seed: int) -> Change:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            old = file[name][()]
            if how == "more":
                file["more"] = 3
                return
            del file[name]
            if how != "removed":
                file[name] = _changed_value(old, how, random.Random(seed))

    return change


def _changed_value(old: Any, how: str, rng: random.Random) -> Any:
    if how == "text":
        return "text"
    x = np.asarray(old)
    if how == "empty":
        return np.zeros(0)
    if how == "one more axis" or x.dtype.kind not in "iuf":
        return x[None] if x.dtype.kind in "iuf" else "other text"
    return one_changed(x.reshape(x.shape or (1,)), rng).reshape(x.shape).astype(x.dtype)


# -- all of a file --------------------------------------------------------------------------------------------------
def inside(folder: Path, file: str, seed: int, most: int) -> Iterator[Mutation]:
    """Yield at most about ``2 * most`` changes inside a file, by its format."""
    path = folder / file
    if file.endswith(".json"):
        tree = json.loads(path.read_text(encoding="utf-8"))
        for kind, found in (("field", json_fields(tree, seed, most)), ("number", json_numbers(tree, seed, most))):
            for label, changed in found:
                yield Mutation(file, kind, label, _text(json.dumps(changed)))
    elif file.endswith(".npz"):
        arrays = arrays_of(path)
        for kind, made in (("array", npz_arrays(arrays, seed, most)), ("number", npz_numbers(arrays, seed, most))):
            for label, change in made:
                yield Mutation(file, kind, label, change)
    elif file.endswith(".onnx"):
        for label, change in onnx_changes(onnx.load(path), seed, most):
            yield Mutation(file, "graph", label, change)
    elif file.endswith(".nir"):
        for label, change in h5_changes(h5_names(path), seed, most):
            yield Mutation(file, "dataset", label, change)


def restore(folder: Path, original: Path, file: str) -> None:
    """Make one file of a folder what it was."""
    path = folder / file
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    shutil.copyfile(original / file, path)
