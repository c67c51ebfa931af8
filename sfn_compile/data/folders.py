"""Folders of files, one a sample, whose folders name the classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import file_sha256
from ..foundation.diagnostics import fail

Array = NDArray[Any]


def files_in(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files of a folder, and of those inside it, that end in one of ``suffixes``; nothing that is hidden."""
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = sorted(d for d in inner if not d.startswith("."))
        yield from (path for name in sorted(names) if is_one(path := Path(place) / name, suffixes))


def is_one(path: Path, suffixes: Sequence[str]) -> bool:
    """Whether a file is called like one of those that are looked for."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def name_of(file: Path, what: Path) -> str:
    """Return what a file is called inside the folder that was given, or alone."""
    return file.relative_to(what).as_posix() if file != what else file.name


def content_of(file: Path, code: str) -> bytes:
    """Return the bytes of a file. Raises ``code``."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise fail(code, f"it cannot be read: {error.strerror}", str(file)) from error


def sha256_of_files(files: Sequence[Path], what: Path) -> str:
    """Return a sha256 over files that could be read, and what they are called inside the folder."""
    sha = hashlib.sha256()
    for file in files:
        sha.update(f"{name_of(file, what)}\0{file_sha256(file)}".encode())
    return sha.hexdigest()


def labels_by_folder(
    folder: Path, files: Sequence[Path], chosen: Sequence[Path]
) -> tuple[Array | None, tuple[str, ...]]:
    """Return the classes of the chosen files by the folders that they are in, and the classes' names.

    Classes are numbered in alphabetical order, as torchvision's ImageFolder does; where all names are whole numbers
    they are the classes' numbers. A single folder says nothing, and neither do folders beside files.
    """
    if folder.is_file():
        return None, ()
    parts = [file.relative_to(folder).parts for file in files]
    names = sorted({part[0] for part in parts})
    if len(names) < 2 or any(len(part) == 1 for part in parts):
        return None, ()
    numbers = {name: int(name) if all(n.isdigit() for n in names) else i for i, name in enumerate(names)}
    labels = np.array([numbers[file.relative_to(folder).parts[0]] for file in chosen])
    by_number = {number: name for name, number in numbers.items()}
    return labels, tuple(by_number.get(i, "") for i in range(max(by_number) + 1))
