"""From an image to a sample: colours, size, crop, ``(value * scale - mean) / std``, layout, as torchvision does it.

``Resize(n)``, ``CenterCrop``, ``ToTensor`` and ``Normalize`` of torchvision on a Pillow image give the same numbers.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from ..foundation.preparation import FIT, Preparation, sides
from ..foundation.samples import ModelInput
from .given import Asked

Array = NDArray[Any]
Frame = tuple[float, float, float, float]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = 114  # around an image that is fitted into the input, as detectors are trained
PILLOW = "pip install 'sfnc[images]'"


@dataclass(frozen=True)
class Recipe:
    """How an image becomes a sample of ``source``, nothing left open."""

    source: ModelInput
    how: Preparation
    channels: int
    height: int
    width: int

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest records, read again by :meth:`Preparation.over`."""
        how = self.how
        mean, std = (None if held is None else list(held) for held in (how.mean, how.std))
        return {"kind": "images", "resize": how.resize, "crop": how.crop, "scale": how.scale, "mean": mean, "std": std,
                "layout": how.layout, "color": how.color}  # fmt: skip

    def sample(self, content: bytes, file: Path) -> tuple[Array, Frame]:
        """Return the sample of an image ``(*shape)`` and where the image's points are in it. Raises SFN319, SFN613."""
        image = opened(content, file, MODES[self.channels])
        image, scale = self._resized(image)
        image, shift = self._cropped(image, file)
        pixels = np.asarray(image, np.uint8).reshape(self.height, self.width, self.channels)
        values = self._scaled(pixels[:, :, ::-1] if self.how.color == "bgr" and self.channels == 3 else pixels)
        values = values.transpose(2, 0, 1) if self.how.layout == "NCHW" else values
        return np.ascontiguousarray(values.reshape(self.source.shape)), (*scale, *shift)

    def _resized(self, image: Any) -> tuple[Any, tuple[float, float]]:
        from PIL import Image

        wide, high = image.size
        size = self._size(wide, high)
        if size != (wide, high):
            image = image.resize(size, Image.Resampling.BILINEAR)
        return image, (size[0] / wide, size[1] / high)

    def _size(self, wide: int, high: int) -> tuple[int, int]:
        """Return width and height after the resize."""
        want_high, want_wide = self._crop()
        if self.how.resize is None and (wide, high) == (want_wide, want_high):
            return wide, high
        if self.how.resize is None or self.how.resize == FIT:
            which = min if self.how.resize == FIT else max
            ratio = which(want_wide / wide, want_high / high)
            return max(1, round(wide * ratio)), max(1, round(high * ratio))
        asked = sides(self.how.resize)
        if len(asked) == 2:
            return asked[1], asked[0]
        short = asked[0]  # the longer side as torchvision cuts it
        return (short, int(short * high / wide)) if wide <= high else (int(short * wide / high), short)

    def _crop(self) -> tuple[int, int]:
        """Return height and width of what is kept."""
        cut = sides(self.how.crop) if self.how.crop else (self.height, self.width)
        return (cut[0], cut[-1])

    def _cropped(self, image: Any, file: Path) -> tuple[Any, tuple[float, float]]:
        wide, high = image.size
        if (high, wide) == (self.height, self.width):
            return image, (0.0, 0.0)
        left, top = round((wide - self.width) / 2), round((high - self.height) / 2)
        if self.how.resize == FIT:
            from PIL import Image

            whole = Image.new(
                image.mode, (self.width, self.height), (GREY,) * self.channels if self.channels > 1 else GREY
            )
            whole.paste(image, (-left, -top))
            return whole, (-left, -top)
        if left < 0 or top < 0:
            what = f"after the resize it is {high}x{wide} (height x width), the crop {self.height}x{self.width}"
            raise fail("SFN319", what, str(file), "give a larger --resize, or leave it out")
        return image.crop((left, top, left + self.width, top + self.height)), (-left, -top)

    def _scaled(self, pixels: Array) -> Array:
        """Return pixels as the model's numbers, in float32 as torch computes them."""
        how, factor = self.how, Fraction(self.how.scale or 1)
        if how.mean is None and how.std is None and factor == 1:
            return pixels.astype(self.source.dtype)
        values: Array = pixels.astype(np.float32)
        if factor.numerator != 1:
            values = values * np.float32(factor.numerator)
        if factor.denominator != 1:
            values = values / np.float32(factor.denominator)
        if how.mean is not None:
            values = values - np.array(how.mean, np.float32)
        if how.std is not None:
            values = values / np.array(how.std, np.float32)
        return (np.rint(values) if self.source.is_integer else values).astype(self.source.dtype)


def recipe_of(asked: Asked, place: Path) -> Recipe:
    """Return how images become samples: what was said, else what the build recorded, else by the model's input.

    Raises SFN319 where the input takes no images, or where nothing says how the build's own data were scaled.
    """
    if len(asked.inputs) != 1:
        what = f"the model has {len(asked.inputs)} inputs, images are for one"
        raise fail("SFN319", what, str(place), "give a function that yields batches: module:function")
    source, said = asked.inputs[0], asked.preparation
    known = asked.recorded if asked.recorded and asked.recorded.get("kind") == "images" else None
    if asked.of_build and known is None and not source.is_integer and not (said.scale or said.mean or said.std):
        what = "the build was not calibrated on images, so nothing says how pixels become the model's numbers"
        raise fail("SFN319", what, str(place), "say --scale, --mean and --std as in training (--scale 1/255)")
    how = said.over(known).check()
    layout, channels, height, width = _axes(source, how.layout)
    _check_channels(how, channels)
    recipe = Recipe(source, _resolved(how, source, layout), channels, height, width)
    if recipe._crop() != (height, width):
        what = f"--crop {how.crop} leaves {'x'.join(map(str, recipe._crop()))}, the model takes {height}x{width}"
        raise fail("SFN319", what, str(place), "leave --crop out")
    return recipe


def _resolved(how: Preparation, source: ModelInput, layout: str) -> Preparation:
    scale = how.scale or ("1" if source.is_integer else "1/255")
    return replace(how, scale=scale, layout=layout, color=how.color or "rgb")


def _axes(source: ModelInput, layout: str | None) -> tuple[str, int, int, int]:
    """Return layout, channels, height and width of an input. Raises SFN319 where they cannot be told."""
    shape = source.shape
    if len(shape) == 2:
        return layout or "NCHW", 1, *shape
    first, last = (len(shape) == 3 and shape[axis] in MODES for axis in (0, -1))
    if layout is None and first and last:
        what = f"both ends of {shape} may be the channels"
        raise fail("SFN319", what, f"input {source.name!r}", "say --layout NCHW or --layout NHWC")
    layout = layout or ("NCHW" if first else "NHWC")
    if not (first if layout == "NCHW" else last):
        what = f"it takes {shape}, which is no image of 1, 3 or 4 channels in {layout}"
        raise fail("SFN319", what, f"input {source.name!r}", "give arrays, or a function that yields batches")
    channels, height, width = shape if layout == "NCHW" else (shape[2], *shape[:2])
    return layout, channels, height, width


def _check_channels(how: Preparation, channels: int) -> None:
    for name, held in (("mean", how.mean), ("std", how.std)):
        if held is not None and len(held) not in (1, channels):
            what = f"--{name} has {len(held)} numbers, the model takes {channels} channels"
            raise fail("SFN319", what, "", f"give one number, or {channels}")


def opened(content: bytes, file: Path, mode: str | None) -> Any:
    """Return a Pillow image in a mode, in its own where that is None. Raises SFN319, SFN613."""
    try:
        from PIL import Image
    except ImportError as error:
        raise fail("SFN613", "images are read with Pillow, which is not installed", str(file), PILLOW) from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            if mode is None:
                image.load()
                return image.copy()
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                raise fail("SFN319", f"it has more than 8 bits per pixel (mode {image.mode})", str(file),
                           "save arrays: np.savez('data.npz', x=images)")  # fmt: skip
            return image.convert(mode)
    except CompileError:
        raise
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise fail("SFN319", f"it is no readable image: {error}", str(file), "leave it out of the folder") from error
