"""Labels of positions: a folder of masks, images of the same names whose pixels are classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.pixels import opened
from ..files.sample_files import Data
from ..foundation.diagnostics import fail

Array = NDArray[Any]
VOID = 255  # where an image was fitted into the input and nothing is


def of_folder(folder: Path, data: Data, size: tuple[int, int]) -> Array:
    """Return the masks ``(n, height, width)`` of all samples, resized and cropped as their images were, to the nearest.

    ``size``: height and width. Raises SFN321 where a sample has no mask, or one in colours.
    """
    if not data.names or data.frames is None:
        raise fail("SFN321", "masks in a folder belong to images in a folder; the samples are arrays", str(folder),
                   "put the masks into the data file as `labels`, shape (n, height, width)")  # fmt: skip
    files = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    by_last = {PurePosixPath(name).name: path for name, path in files.items()}
    masks = []
    for name, frame in zip(data.names, data.frames, strict=True):
        stem = PurePosixPath(name).with_suffix("")
        path = files.get(str(stem), by_last.get(stem.name))
        if path is None:
            raise fail("SFN321", f"there is no mask for {name!r}", str(folder), f"name it {stem.name}.png")
        masks.append(moved(classes_of(path), frame, size))
    return np.stack(masks)


def classes_of(path: Path) -> Array:
    """Return the classes ``(height, width)`` of a mask: the pixels of a grey image, the places of a palette.

    Raises SFN319 where it is no image, SFN321 where it has colours.
    """
    image = opened(path.read_bytes(), path, None)
    if image.mode not in ("L", "P", "1", "I", "I;16"):
        raise fail("SFN321", f"a mask in colours (mode {image.mode})", str(path),
                   "save the class of every pixel: a grey PNG, or one with a palette")  # fmt: skip
    return np.asarray(image).astype(np.int64)


def moved(mask: Array, frame: Array, size: tuple[int, int]) -> Array:
    """Return a mask as a sample of ``size`` shows it: of every position the nearest pixel, 255 beside the image."""
    a, b, c, d = frame
    x = np.floor((np.arange(size[1]) + 0.5 - c) / a).astype(np.int64)
    y = np.floor((np.arange(size[0]) + 0.5 - d) / b).astype(np.int64)
    high, wide = mask.shape
    found = mask[np.clip(y, 0, high - 1)][:, np.clip(x, 0, wide - 1)]
    outside = ((y < 0) | (y >= high))[:, None] | ((x < 0) | (x >= wide))[None]
    return np.where(outside, VOID, found)
