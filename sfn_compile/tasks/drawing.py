"""Examples as pictures: the float network's answer on the left, the spiking one's on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.pixels import PILLOW
from ..evaluation.truth import Answers
from ..files.sample_files import Data
from ..foundation.diagnostics import fail
from .boxes import Boxes
from .classification import Classification
from .detection import Detection
from .segmentation import Segmentation

Array = NDArray[Any]
SIDE, GAP, HEAD = 320, 8, 20  # pixels: the shorter side of a drawn sample at least, between both, the line above
# Colours that people with any colour vision tell apart (Okabe and Ito 2008), then again.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
TITLES = ("float network", "spiking network")


def images_of(x: Array, prepared: Mapping[str, Any] | None) -> Array | None:
    """Return samples as pictures ``(n, height, width, 3)`` of bytes, None where they are none.

    What the recorded preparation did is undone; of other data the smallest number is black and the largest white.
    """
    how = prepared if prepared and prepared.get("kind") == "images" else {}
    y = np.asarray(x, np.float64)
    if y.ndim == 3:
        y = y[..., None]
    elif y.ndim == 4 and (how.get("layout") == "NCHW" or (not how and y.shape[1] in (1, 3, 4))):
        y = y.transpose(0, 2, 3, 1)
    if y.ndim != 4 or y.shape[3] not in (1, 3, 4) or min(y.shape[1:3]) < 2:
        return None
    if how:
        y = (y * np.array(how["std"] or 1.0) + np.array(how["mean"] or 0.0)) / float(Fraction(how["scale"]))
        y = y[..., ::-1] if how.get("color") == "bgr" else y
    else:
        low, high = y.min(), y.max()
        y = (y - low) * (255 / (high - low if high > low else 1))
    return np.clip(np.rint(y[..., :3] if y.shape[3] > 1 else np.repeat(y, 3, axis=3)), 0, 255).astype(np.uint8)


def draw(task: Any, data: Data, want: Answers, got: Answers, truth: Any, folder: Path) -> list[str]:
    """Write a PNG for every sample of ``data`` and return their names. Raises SFN321, SFN602, SFN613."""
    try:
        from PIL import Image
    except ImportError as error:
        raise fail("SFN613", "pictures are drawn with Pillow, which is not installed", fix=PILLOW) from error
    pictures = next((p for x in data.x.values() if (p := images_of(np.asarray(x), data.prepared)) is not None), None)
    if pictures is None:
        raise fail("SFN321", "the samples are no images, so no example can be drawn", "--draw", "leave it out")
    names = []
    for i, picture in enumerate(pictures):
        name = f"{i:03d}-{Path(data.names[i]).stem}.png" if data.names else f"{i:03d}.png"
        scale = max(1, -(-SIDE // min(picture.shape[:2])))
        sides = [_drawn(Image, task, picture, scale, answers, i, truth, data.classes) for answers in (want, got)]
        _beside(Image, sides).save(folder / name)
        names.append(name)
    return names


def _beside(image: Any, sides: Sequence[Any]) -> Any:
    """Return both pictures beside each other under their titles."""
    from PIL import ImageDraw

    wide, high = sides[0].size
    whole = image.new("RGB", (2 * wide + GAP, high + HEAD), (255, 255, 255))
    for k, (side, title) in enumerate(zip(sides, TITLES, strict=True)):
        whole.paste(side, (k * (wide + GAP), HEAD))
        ImageDraw.Draw(whole).text((k * (wide + GAP) + 2, 4), title, fill=(0, 0, 0))
    return whole


def _drawn(
    image: Any, task: Any, picture: Array, scale: int, answers: Answers, i: int, truth: Any, names: Sequence[str]
) -> Any:  # fmt: skip
    """Return a sample with the answer of one network."""
    high, wide = picture.shape[:2]
    base = image.fromarray(picture).resize((wide * scale, high * scale), image.Resampling.NEAREST)
    if isinstance(task, Detection):
        own = task.classes or names
        _draw_boxes(base, None if truth is None else truth[i], scale, own, labels=True)
        _draw_boxes(base, _shown(task, answers, i), scale, own)
    elif isinstance(task, Segmentation):
        return _with_mask(image, base, task.said(np.asarray(answers[task.output])[i : i + 1])[0])
    elif isinstance(task, Classification):
        _draw_classes(
            base, np.asarray(answers[task.output])[i].reshape(-1), None if truth is None else int(truth[i]), names
        )
    else:
        raise fail("SFN321", f"no example is drawn of {task.name}", "--draw", "leave it out")
    return base


def _shown(task: Detection, answers: Answers, i: int) -> Boxes:
    from .detection import of_one

    found = task.form.read(of_one(answers, task.outputs, i))
    return found[found.scores >= task.shown]


def _draw_boxes(base: Any, boxes: Boxes | None, scale: int, names: Sequence[str], labels: bool = False) -> None:
    """Draw boxes with class and score; those of the labels are thin and white."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(base)
    for k in range(0 if boxes is None else len(boxes)):
        assert boxes is not None
        x0, y0, x1, y1 = (float(v) * scale for v in boxes.corners[k])
        klass = int(boxes.classes[k])
        colour = (255, 255, 255) if labels else COLOURS[klass % len(COLOURS)]
        corners = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        pen.rectangle(corners, outline=colour, width=1 if labels else 2)
        if not labels:
            text = f"{_name(klass, names)} {boxes.scores[k]:.2f}"
            place = (corners[0] + 2, max(0.0, corners[1] - 15))
            _write(pen, place, text, colour)


def _with_mask(image: Any, base: Any, mask: Array) -> Any:
    """Return a picture with the classes of its positions over it; class 0 is left as it is."""
    palette = np.array([(0, 0, 0), *COLOURS], np.uint8)
    places = np.where(mask > 0, 1 + (mask - 1) % len(COLOURS), 0)
    over = image.fromarray(palette[places]).resize(base.size, image.Resampling.NEAREST)
    alpha = image.fromarray(np.where(mask > 0, 140, 0).astype(np.uint8)).resize(base.size, image.Resampling.NEAREST)
    return image.composite(over, base, alpha)


def _draw_classes(base: Any, scores: Array, right: int | None, names: Sequence[str]) -> None:
    """Write the best three classes; the right one in green, a wrong first in red."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(base)
    for line, klass in enumerate(np.argsort(-scores, kind="stable")[:3].tolist()):
        text = f"{_name(klass, names)} {scores[klass]:.3g}"
        wrong = (230, 80, 60) if line == 0 and right is not None else (255, 255, 255)
        _write(pen, (4, 4 + 16 * line), text, (0, 200, 120) if klass == right else wrong)


def _write(pen: Any, place: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    """Write on black."""
    from PIL import ImageFont

    font = ImageFont.load_default(13)
    pen.rectangle(pen.textbbox(place, text, font=font), fill=(0, 0, 0))
    pen.text(place, text, fill=colour, font=font)


def _name(klass: int, names: Sequence[str]) -> str:
    return names[klass] if 0 <= klass < len(names) and names[klass] else str(klass)
