"""How data that are no arrays become samples: options that compile records and later commands use again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import Any

from .declaration import held_by, option, options_of, read_all
from .diagnostics import fail
from .event_options import EventOptions

FIT = "fit"
LAYOUTS, COLORS = ("NCHW", "NHWC"), ("rgb", "bgr")


def read_size(given: Any) -> str | None:
    """Return a size as it is recorded: ``N`` or ``HxW``; words stay. Raises SFN605.

    >>> read_size(256), read_size((224, 320)), read_size("224x320"), read_size("fit")
    ('256', '224x320', '224x320', 'fit')
    """
    if given is None:
        return None
    parts = [str(given)] if isinstance(given, int | str) else [str(n) for n in given]
    text = "x".join(parts).lower().replace(" ", "")
    if text == FIT:
        return text
    sizes = text.split("x")
    if len(sizes) > 2 or not all(size.isdigit() and int(size) for size in sizes):
        raise fail("SFN605", f"a size {given!r}", fix="write N (the shorter side) or HxW, in pixels")
    return text


def sides(size: str) -> tuple[int, ...]:
    """Return the numbers of a size: one, or height and width.

    >>> sides("256"), sides("224x320")
    ((256,), (224, 320))
    """
    return tuple(int(n) for n in size.split("x"))


def read_numbers(given: Any) -> tuple[float, ...] | None:
    """Return numbers that commas separate, or that are a sequence or a number already. Raises SFN605.

    >>> read_numbers("0.485,0.456,0.406"), read_numbers(127)
    ((0.485, 0.456, 0.406), (127.0,))
    """
    if given is None:
        return None
    parts: Iterable[Any] = given.split(",") if isinstance(given, str) else [given] if isinstance(given, Real) else given
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        found = ()
    if not found or not all(abs(number) < float("inf") for number in found):
        raise fail("SFN605", f"{given!r} are no numbers", fix="write one number, or one per channel: 0.485,0.456,0.406")
    return found


def read_scale(given: Any) -> str | None:
    """Return a factor as a fraction, so that it multiplies without rounding first. Raises SFN605.

    >>> read_scale("1/255"), read_scale(1 / 255), read_scale(1)
    ('1/255', '1/255', '1')
    """
    if given is None:
        return None
    try:
        exact = Fraction(str(given).strip()) if isinstance(given, str) else Fraction(given)
        short = exact.limit_denominator(1 << 16)  # 1/255 and not the float that stands for it
        found = short if float(short) == float(exact) else exact
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        found = Fraction(0)
    if found <= 0:
        raise fail("SFN605", f"--scale {given!r}", fix="write a number above 0, also as 1/255")
    return str(found)


@dataclass(frozen=True)
class Preparation(EventOptions):
    """How images and event recordings become samples; None: as the build recorded it, else what the help says.

    Of images, in this order: colours, resize, crop, ``value * scale``, ``(value - mean) / std``, layout.
    """

    # fmt: off
    resize: str | None = option(
        None, "Images: N, their shorter side; HxW; or `fit`, whole inside the input, grey around.", "images",
        metavar="N|HxW|fit", read=read_size, accepts="int | str | Sequence[int] | None",
        unset="shorter sides that fill --crop",
        note="Bilinear with antialiasing, as Pillow and torchvision have it. An image that has the size already stays "
        "as it is.")
    crop: str | None = option(
        None, "Then the middle of the image: N, a square, or HxW.", "images", metavar="N|HxW", read=read_size,
        accepts="int | str | Sequence[int] | None", unset="the model's input")
    scale: str | None = option(
        None, "Then pixels 0..255 times this.", "images", metavar="X", read=read_scale, accepts="float | str | None",
        unset="1/255, or 1 for an input of integers")
    mean: tuple[float, ...] | None = option(
        None, "Then minus this, one number or one per channel.", "images", metavar="X,X,X", read=read_numbers,
        accepts="float | str | Sequence[float] | None", unset="0")
    std: tuple[float, ...] | None = option(
        None, "Then divided by this.", "images", metavar="X,X,X", read=read_numbers,
        accepts="float | str | Sequence[float] | None", unset="1")
    layout: str | None = option(
        None, "Axes of the model's input.", "images", choices=LAYOUTS, unset="by the axis of 1, 3 or 4 channels")
    color: str | None = option(
        None, "Order of the colours.", "images", choices=COLORS, unset="rgb",
        note="Images become grey for an input of one channel.")
    # fmt: on

    def said(self, but: str = "") -> str:
        """Return the flags of what was said, those of group ``but`` left out: ``--resize, --mean``."""
        given = (o for o in options_of(Preparation) if o.group != but and getattr(self, o.field) is not None)
        return ", ".join(o.flag for o in given)

    def over(self, recorded: Mapping[str, Any] | None) -> Preparation:
        """Return what was said, and for the rest what a manifest recorded. Raises SFN605 for what no option is."""
        known = {o.name for o in options_of(Preparation)}
        held = {key: value for key, value in (recorded or {}).items() if key in known}
        old = Preparation(**held_by(Preparation, read_all(options_of(Preparation), held)))
        said = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(old, **said)

    def check(self) -> Preparation:
        """Return self. Raises SFN605 for a value that is not accepted."""
        for o in options_of(Preparation):
            o.check(getattr(self, o.field))
        if self.std is not None and not all(self.std):
            raise fail("SFN605", "--std holds a 0", fix="give the standard deviation of every channel")
        if self.crop == FIT:
            raise fail("SFN605", "--crop fit", fix="--resize fit keeps the whole image; --crop takes N or HxW")
        return self


AS_RECORDED = Preparation()


@dataclass(frozen=True, eq=False)
class Given:
    """Data as they were given, and how they are to be prepared where they are no arrays."""

    what: Any
    preparation: Preparation = AS_RECORDED

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        return [self.what] if isinstance(self.what, Path) else []


def read_given(what: Any) -> Any:
    """Return data as they were given, a text as the path that it is."""
    return Path(what) if isinstance(what, str) else what


def given(what: Any) -> Given:
    """Return what was given as data, with how it is to be prepared."""
    return what if isinstance(what, Given) else Given(read_given(what))
