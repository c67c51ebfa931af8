"""From a recording to frames of counts: which frame an event belongs to, and which pixel of the model's input.

``bins=time``: of T frames over a span of D microseconds, event at t (from the first one) is in frame ``t T // D``; the
span is the recording's own, the last event included, or ``--window``. ``bins=count``: event i of n is in ``i T // n``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.event_options import sides_of
from ..foundation.preparation import Preparation
from ..foundation.samples import ModelInput
from .given import Asked
from .recordings import Recording

Array = NDArray[Any]
POLARITIES = (1, 2)  # channels of a frame: all events together, or off and on


@dataclass(frozen=True)
class Binning:
    """How a recording becomes a sample of ``source``: ``frames`` frames of ``(channels, height, width)`` counts."""

    source: ModelInput
    bins: str
    frames: int
    channels: int
    height: int
    width: int
    window: float | None
    sensor: tuple[int, int] | None

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest records, read again by :meth:`Preparation.over`."""
        sensor = None if self.sensor is None else "x".join(map(str, self.sensor))
        return {"kind": "events", "bins": self.bins, "frames": self.frames, "window": self.window, "sensor": sensor}

    def sample(self, recording: Recording) -> Array:
        """Return the counts ``(*source.shape)`` of a recording. Raises SFN316."""
        high, wide = self._sensor_of(recording)
        x, y = recording.x.astype(np.int64), recording.y.astype(np.int64)
        outside = np.flatnonzero((x < 0) | (x >= wide) | (y < 0) | (y >= high))
        if len(outside):
            i = int(outside[0])
            what = f"event {i} is at x = {x[i]}, y = {y[i]}, outside {wide} x {high} pixels ({len(outside)} such)"
            raise fail("SFN316", what, recording.where, "say the sensor's height and width: --sensor HxW")
        frame, taken = self._frames_of(recording.t)
        at = (frame * self.channels + (recording.on if self.channels == 2 else 0)) * self.height
        at = (at + y * self.height // high) * self.width + x * self.width // wide
        size = int(np.prod(self.source.shape))
        return self._in_type(np.bincount(at[taken], minlength=size).reshape(self.source.shape), recording)

    def _frames_of(self, t: Array) -> tuple[Array, slice]:
        """Return the frame of every event, and which events are taken: those of the window."""
        since = t - t[0]
        n = len(t) if self.window is None else int(np.searchsorted(since, round(1000 * self.window)))
        if self.bins == "count":
            return np.arange(len(t)) * self.frames // n, slice(n)
        span = since[-1] + 1 if self.window is None else round(1000 * self.window)
        return since * self.frames // span, slice(n)

    def _sensor_of(self, recording: Recording) -> tuple[int, int]:
        """Return height and width of the sensor. Raises SFN316 where the file says another size than was asked for."""
        asked = self.sensor or (self.height, self.width)
        said = recording.sensor
        if said is not None and said != asked:
            what = f"its sensor has {said[1]} x {said[0]} pixels, {asked[1]} x {asked[0]} were expected"
            fix = f"--sensor {said[0]}x{said[1]} puts its pixels together for the model's {self.height}x{self.width}"
            raise fail("SFN316", what, recording.where, fix)
        return asked

    def _in_type(self, counts: Array, recording: Recording) -> Array:
        """Return counts in the input's own type. Raises SFN316 where it does not hold them."""
        if self.source.is_integer and counts.max() > np.iinfo(self.source.dtype).max:
            what = f"a pixel has {counts.max()} events in a frame, which the model's {self.source.dtype} does not hold"
            raise fail("SFN316", what, recording.where, "take a shorter --window, or more frames")
        return counts.astype(self.source.dtype)


def binning_of(asked: Asked, place: Path) -> Binning:
    """Return how recordings become samples: what was said, else what the build recorded, else by the model's input.

    Raises SFN316 where the input takes no frames of events, SFN605.
    """
    if len(asked.inputs) != 1:
        raise fail("SFN316", f"the model has {len(asked.inputs)} inputs, events are for one", str(place),
                   "give a function that yields batches: module:function")  # fmt: skip
    (source,) = asked.inputs
    known = asked.recorded if asked.recorded and asked.recorded.get("kind") == "events" else None
    how = asked.preparation.over(known).check()
    frames, channels, height, width = _axes(source, how)
    sensor = None if how.sensor is None else sides_of(how.sensor)
    if sensor is not None and (sensor[0] < height or sensor[1] < width):
        what = f"--sensor {how.sensor} is smaller than the model's input, {height}x{width}"
        raise fail("SFN605", what, fix="say the height and width of the camera that recorded them")
    return Binning(source, how.bins or "time", frames, channels, height, width, how.window, sensor)


def _axes(source: ModelInput, how: Preparation) -> tuple[int, int, int, int]:
    """Return frames, channels, height and width of an input. Raises SFN316, SFN605."""
    shape, frames = source.shape, how.frames or 1
    if source.frames is not None or len(shape) == 4:  # the first axis is that of frames
        if how.frames not in (None, shape[0]):
            raise fail("SFN605", f"--frames {how.frames}: a sample is {shape[0]} frames", fix="leave it out")
        frames, frame = shape[0], shape[1:]
    else:  # they are side by side as channels, if there are several
        frame = (shape[0] // frames, *shape[1:]) if len(shape) == 3 else shape
    channels, *sides = frame if len(frame) != 2 else (1, *frame)
    if channels in POLARITIES and len(sides) == 2 and frames * channels * math.prod(sides) == math.prod(shape):
        return frames, channels, sides[0], sides[1]
    where, said = f"input {source.name!r}", "T" if how.frames is None else how.frames
    if len(shape) == 3 and how.frames is None and source.frames is None:
        what = f"it takes {shape}: {shape[0]} channels, where one frame of events has 1 or 2"
        raise fail("SFN316", what, where, f"say how many frames they are: --frames {max(1, shape[0] // 2)}")
    what = f"it takes {shape}, which is not {said} frames of 1 or 2 polarities"
    raise fail("SFN316", what, where, "bin the recordings yourself: a function that yields batches, or an .npz")
