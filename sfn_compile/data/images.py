"""Images: a folder of them, whose folders name the classes, or a single file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ..files.sample_files import Data, choice
from .folders import content_of, files_in, is_one, labels_by_folder, name_of
from .gather import gathered
from .given import Asked
from .pixels import recipe_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")


def takes(what: Any) -> bool:
    """Whether something is an image, or a folder in which there are some."""
    if not isinstance(what, Path):
        return False
    if what.is_dir():
        return next(files_in(what, SUFFIXES), None) is not None
    return is_one(what, SUFFIXES) and what.is_file()


def read(what: Path, asked: Asked) -> Data:
    """Return images as samples of the model's only input; of a folder with folders in it, their names as classes.

    Raises SFN319, SFN307 where labels are needed and there are none, SFN613.
    """
    files = sorted(files_in(what, SUFFIXES)) if what.is_dir() else [what]
    places = choice(len(files), asked.samples, asked.seed)
    chosen = files if places is None else [files[i] for i in places]
    recipe = recipe_of(asked, what)
    labels, classes = labels_by_folder(what, files, chosen)
    into, frames, sha = gathered(asked.inputs)[asked.inputs[0].name], [], hashlib.sha256()
    for n, file in enumerate(chosen, 1):
        content = content_of(file, "SFN319")
        sample, frame = recipe.sample(content, file)
        into.add(sample[None])
        frames.append(frame)
        sha.update(hashlib.sha256(file.relative_to(what).as_posix().encode() + b"\0" + content).digest())
        asked.progress("read images", n, len(chosen))
    names = tuple(name_of(file, what) for file in chosen)
    return Data({asked.inputs[0].name: into.array()}, labels, what.name, sha.hexdigest(), "folders", names, classes,
                recipe.as_dict(), np.array(frames))  # fmt: skip
