"""The options of event recordings: how the events of a camera become frames of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .declaration import option
from .diagnostics import fail

BINS = ("time", "count")


def read_sensor(given: Any) -> str | None:
    """Return a sensor's height and width as they are recorded. Raises SFN605.

    >>> read_sensor("260x346"), read_sensor((34, 34))
    ('260x346', '34x34')
    """
    if given is None:
        return None
    sides = given.lower().split("x") if isinstance(given, str) else [str(n) for n in given]
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 65536 for side in sides):
        raise fail("SFN605", f"--sensor {given!r}", fix="write its height and width in pixels: --sensor 260x346")
    return "x".join(str(int(side)) for side in sides)


def sides_of(sensor: str) -> tuple[int, int]:
    """Return the height and width of a recorded sensor.

    >>> sides_of("260x346")
    (260, 346)
    """
    height, width = sensor.split("x")
    return int(height), int(width)


@dataclass(frozen=True)
class EventOptions:
    """How event recordings become samples; None: as the build recorded it, else what the option's help says."""

    # fmt: off
    bins: str | None = option(
        None, "Frames of equal duration, or of equally many events.", "events", choices=BINS, unset="time",
        note="A frame holds how many events every pixel had: off in channel 0 and on in channel 1, or both in one.")
    frames: int | None = option(
        None, "Frames that a recording is cut into.", "events", lowest=1, highest=4096, metavar="T",
        unset="as the input has: (C, H, W) one, (T, C, H, W) T",
        note="Only an input whose channels are those of several frames needs it: (T C, H, W), frame after frame.")
    window: float | None = option(
        None, "Milliseconds that are taken of every recording, from its first event on.", "events", lowest=0.001,
        metavar="MS", unset="the whole recording",
        note="All recordings then have frames of one duration, as a camera that runs has.")
    sensor: str | None = option(
        None, "Height and width of the sensor, whose pixels are put together for a smaller input.", "events",
        metavar="HxW", read=read_sensor, accepts="str | Sequence[int] | None", unset="those of the input",
        note="The event at (x, y) counts for pixel (x W // sensor width, y H // sensor height) of the input.")
    # fmt: on
