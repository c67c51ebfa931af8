"""Samples that are pictures, as small PNG files inside a data URI: for a page that needs no other file."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LARGEST = 96  # pixels of the longer side; larger ones are thinned
CHANNELS = (1, 3)


def picture(sample: Array) -> str | None:
    """Return one sample as a data URI, None where it is no picture: ``(C, H, W)``, ``(H, W, C)`` or ``(H, W)`` of one
    or three channels. Its lowest number is black, its highest white."""
    pixels = _pixels(sample)
    if pixels is None:
        return None
    every = -(-max(pixels.shape[:2]) // LARGEST)
    pixels = pixels[::every, ::every].astype(np.float64)
    finite = pixels[np.isfinite(pixels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    grey = np.nan_to_num((pixels - low) / (high - low if high > low else 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return f"data:image/png;base64,{base64.b64encode(png(np.rint(255 * grey).astype(np.uint8))).decode()}"


def _pixels(sample: Array) -> Array | None:
    """Return a picture ``(H, W, 1 or 3)``, None where a sample is none."""
    sizes = sample.shape
    if len(sizes) == 2 and min(sizes) > 3:
        return sample[:, :, None]
    if len(sizes) != 3:
        return None
    if sizes[0] in CHANNELS and min(sizes[1:]) > 3:
        return np.moveaxis(sample, 0, 2)
    return sample if sizes[2] in CHANNELS and min(sizes[:2]) > 3 else None


def png(pixels: Array) -> bytes:
    """Return a PNG file of pixels ``(H, W, 1 or 3)`` of 8 bits."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2}[channels]
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
