"""Tables of numbers: ``.csv`` and ``.tsv``, a sample a line."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import Data, file_sha256, selected
from ..foundation.diagnostics import fail
from .given import Asked, held

Array = NDArray[Any]
SUFFIXES = (".csv", ".tsv")
LABEL_COLUMNS = ("labels", "label", "y", "target", "class")


def takes(what: Any) -> bool:
    """Whether a file is a table."""
    return isinstance(what, Path) and what.suffix.lower() in SUFFIXES and what.is_file()


def read(what: Path, asked: Asked) -> Data:
    """Return the samples of a table: the columns fill the model's only input in C order.

    A column called ``labels``, ``label``, ``y``, ``target`` or ``class`` holds labels; in a table without a first line
    of names that is the last column where there is one more than the input takes. Labels that are words become classes
    in alphabetical order. Raises SFN301, SFN303, SFN305 to SFN307.
    """
    if len(asked.inputs) != 1:
        raise fail("SFN303", f"the model has {len(asked.inputs)} inputs, a table is for one", str(what),
                   "save one array per input: np.savez('data.npz', name=array, ...)")  # fmt: skip
    source = asked.inputs[0]
    names, rows = _rows(what)
    size = int(np.prod(source.shape))
    label = _label_column(names, len(rows[0]), size)
    features = [i for i in range(len(rows[0])) if i != label]
    if len(features) != size:
        raise fail("SFN303", f"it has {len(features)} columns of features, the model takes {size} {source.shape}",
                   str(what), f"give {size} columns, and one called `labels` for the labels")  # fmt: skip
    x = _numbers(rows, features, names, what).reshape(len(rows), *source.shape)
    classes: tuple[str, ...] = ()
    arrays = {source.name: held(x)}
    if label is not None:
        labels, classes = _labels([row[label] for row in rows])
        arrays["labels"] = held(labels)
    samples, marks, name = selected(arrays, asked.inputs, what, asked.samples, asked.seed, asked.needs_labels)
    return replace(Data(samples, marks, what.name, file_sha256(what), name), classes=classes)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, empty without a first line of them, and the cells. Raises SFN301, SFN306."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max("\t;,", key=first.count)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise fail("SFN301", f"not a readable table: {error}", str(path)) from error
    names = [] if not rows or any(map(_is_number, rows[0])) else [cell.strip() for cell in rows.pop(0)]
    if not rows:
        raise fail("SFN306", "it holds no samples", str(path), "a line per sample, columns separated by commas")
    width = len(rows[0])
    odd = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if odd is not None:
        where = f"{path}, sample {odd}"
        raise fail("SFN301", f"it has {len(rows[odd])} columns, the first sample has {width}", where)
    return names, rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_column(names: list[str], width: int, size: int) -> int | None:
    found = [i for name in LABEL_COLUMNS for i, own in enumerate(names) if own.lower() == name]
    if found or names:
        return found[0] if found else None
    return width - 1 if width == size + 1 else None


def _numbers(rows: list[list[str]], features: list[int], names: list[str], path: Path) -> Array:
    """Return the cells of some columns as numbers. Raises SFN304 where one is none."""
    found = np.empty((len(rows), len(features)), np.float64)
    for i, row in enumerate(rows):
        for k, column in enumerate(features):
            try:
                found[i, k] = float(row[column] or "nan")
            except ValueError:
                title = names[column] if names else str(column)
                raise fail("SFN304", f"{row[column]!r} is no number", f"{path}, sample {i}, column {title}",
                           "give numbers; call the column of the classes `labels`") from None  # fmt: skip
    whole = np.isfinite(found).all() and (found == np.rint(found)).all()
    return found.astype(np.int64) if whole else found


def _labels(cells: list[str]) -> tuple[Array, tuple[str, ...]]:
    """Return labels as numbers, and the words that they count where they are words."""
    if all(map(_is_number, cells)):
        numbers = np.array([float(cell) for cell in cells])
        whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
        return (numbers.astype(np.int64) if whole else numbers), ()
    classes, places = np.unique([cell.strip() for cell in cells], return_inverse=True)
    return places.astype(np.int64), tuple(map(str, classes))
