"""Images: a folder of them, whose folders name the classes, or a single file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import Data, choice
from ..foundation.diagnostics import fail
from .gather import gathered
from .given import Asked
from .pixels import recipe_of

Array = NDArray[Any]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")


def takes(what: Any) -> bool:
    """Whether something is an image, or a folder in which there are some."""
    if not isinstance(what, Path):
        return False
    return next(_files(what), None) is not None if what.is_dir() else _is_image(what) and what.is_file()


def read(what: Path, asked: Asked) -> Data:
    """Return images as samples of the model's only input; of a folder with folders in it, their names as classes.

    Classes are numbered in alphabetical order, as torchvision's ImageFolder does; where all names are whole numbers
    they are the classes' numbers. Raises SFN319, SFN307 where labels are needed and there are none, SFN613.
    """
    files = sorted(_files(what)) if what.is_dir() else [what]
    places = choice(len(files), asked.samples, asked.seed)
    chosen = files if places is None else [files[i] for i in places]
    recipe = recipe_of(asked, what)
    labels, classes = _labels(what, files, chosen)
    into, frames, sha = gathered(asked.inputs)[asked.inputs[0].name], [], hashlib.sha256()
    for n, file in enumerate(chosen, 1):
        content = _content(file)
        sample, frame = recipe.sample(content, file)
        into.add(sample[None])
        frames.append(frame)
        sha.update(hashlib.sha256(file.relative_to(what).as_posix().encode() + b"\0" + content).digest())
        asked.progress("read images", n, len(chosen))
    names = tuple(f.relative_to(what).as_posix() if f != what else f.name for f in chosen)
    return Data({asked.inputs[0].name: into.array()}, labels, what.name, sha.hexdigest(), "folders", names, classes,
                recipe.as_dict(), np.array(frames))  # fmt: skip


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the images of a folder and of those inside it; what is hidden is left out."""
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = sorted(d for d in inner if not d.startswith("."))
        yield from (path for name in names if _is_image(path := Path(place) / name))


def _content(file: Path) -> bytes:
    """Return the bytes of an image. Raises SFN319."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise fail("SFN319", f"it cannot be read: {error.strerror}", str(file)) from error


def _labels(folder: Path, files: Sequence[Path], chosen: Sequence[Path]) -> tuple[Array | None, tuple[str, ...]]:
    """Return the classes of the images by the folders that they are in, and the classes' names; none without folders.

    A single folder says nothing, and neither do folders beside images.
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
