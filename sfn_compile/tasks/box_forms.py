"""Which of the usual forms outputs with boxes have, told from their names, shapes and numbers on a few samples.

Known: boxes, scores and classes as outputs of their own (torchvision, TensorFlow); boxes with a score for each class
(SSD, UltraFace); one table of corners, score, class (YOLOv10 and other models that end in a suppression; also with the
image in front: YOLOv7, Caffe); YOLO's raw tables, of centre and size, with an objectness (v5) or without (v8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from .boxes import BACKGROUNDS, COLUMNS, FORMATS, UNITS, BoxForm, scores_of

Array = NDArray[Any]
Outputs = Mapping[str, Array]  # of one sample, as the model answers to a batch of one
RAW_IOU, RAW_LEAST = 0.5, 0.01  # of raw scores: suppression as usual; what is below is no candidate
RELATIVE = 2.0  # no corner of relative boxes is beyond, even of one that hangs over the edge


def guessed(samples: Sequence[Outputs], size: tuple[int, int]) -> BoxForm | None:
    """Return the form of the outputs of some samples, None where it is none of the known."""
    found = _of_several(samples) or _of_table(samples)
    if found is None:
        return None
    every = np.concatenate([_raw(found, outputs) for outputs in samples])
    every = every[np.isfinite(every).all(axis=1)]
    if len(every) and np.abs(every).max() <= RELATIVE:
        found = _with(found, unit="relative")
    return found.sized(size)


def _with(form: BoxForm, **changes: Any) -> BoxForm:
    return BoxForm(**{**{name: getattr(form, name) for name in form.__dataclass_fields__}, **changes})


def _raw(form: BoxForm, outputs: Outputs) -> Array:
    """Return the boxes of a sample as they stand there."""
    return form._parts(outputs)[0].astype(np.float64)


def _of_several(samples: Sequence[Outputs]) -> BoxForm | None:
    """Return the form of an output of boxes with others beside it."""
    one = samples[0]
    boxes = [n for n, y in one.items() if y.shape[-1:] == (4,) and y.ndim >= 2 and not _counts(n)]
    boxes = [n for n in boxes if re.search("box|loc|coord|regress", n.lower())] if len(boxes) > 1 else boxes
    if len(boxes) != 1:
        return None
    name = boxes[0]
    k = one[name].size // 4
    beside = {n: y for n, y in one.items() if n != name and y.size and (k == 0 or y.size % k == 0)}
    classes = next((n for n in beside if _names_classes(n, one[n]) and one[n].size == k), "")
    scores = next((n for n in beside if n != classes and one[n].dtype.kind == "f" and not _counts(n)), "")
    count = next((n for n, y in one.items() if _counts(n) and y.size == 1), "")
    if not scores:
        return None
    form = BoxForm(boxes=name, scores=scores, classes=classes, count=count)
    raw = np.concatenate([np.asarray(o[name], np.float64).reshape(-1, 4) for o in samples])
    form = _with(form, format="yxyx" if "detection_boxes" in name else _format(raw))
    if one[scores].size == k:
        return form
    each = np.concatenate([scores_of(o[scores], o[name].size // 4) for o in samples])
    return _with(form, background=_background(each), iou=RAW_IOU, least=RAW_LEAST, classes="")


def _names_classes(name: str, y: Array) -> bool:
    return y.dtype.kind in "iu" or re.search("class|label|categor", name.lower()) is not None


def _counts(name: str) -> bool:
    return re.search("num|count", name.lower()) is not None


def _format(raw: Array) -> str:
    """Return whether rows are two corners, or a centre and a size: of corners the second lies behind the first."""
    ordered = (raw[:, 2] >= raw[:, 0]) & (raw[:, 3] >= raw[:, 1])
    return "xyxy" if not len(raw) or ordered.mean() > 0.999 else "cxcywh"


def _background(scores: Array) -> str:
    """Return which class is that of nothing: there is one where the scores of a box sum to 1, the usual one of them."""
    if scores.shape[1] < 2 or not np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        return "none"
    usual = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1]).argmax()
    return {0: "first", scores.shape[1] - 1: "last"}.get(int(usual), "none")


def _of_table(samples: Sequence[Outputs]) -> BoxForm | None:
    """Return the form of a single output that holds everything."""
    tables = [n for n, y in samples[0].items() if y.ndim > 1 and y.dtype.kind == "f"
              and any(_is_table(o[n]) for o in samples)]  # fmt: skip
    if len(tables) != 1:
        return None
    name = tables[0]
    plain = [np.asarray(o[name], np.float64).reshape(-1, o[name].shape[-1]) for o in samples]
    width, every = plain[0].shape[1], np.concatenate(plain)
    if width == 5:
        return BoxForm(name, ("box", "score"), format=_format(every[:, :4]))  # type: ignore[arg-type]
    if width == 6 and _is_whole(every[:, 5]):
        return BoxForm(name, ("box", "score", "class"), format=_format(every[:, :4]))  # type: ignore[arg-type]
    if width == 7 and _is_whole(every[:, 0]) and _is_share(every[:, 6]) and _is_whole(every[:, 5]):
        return BoxForm(name, ("-", "box", "class", "score"))
    if width == 7 and _is_whole(every[:, 0]) and _is_whole(every[:, 1]) and _is_share(every[:, 2]):
        return BoxForm(name, ("-", "class", "score", "box"))
    many = plain[0].shape[0]
    if many < width and many > 4:  # a column a box: YOLOv8
        return BoxForm(name, ("box", "classes"), format="cxcywh", iou=RAW_IOU, least=RAW_LEAST)
    if many >= width > 5:
        return BoxForm(name, ("box", "object", "classes"), format="cxcywh", iou=RAW_IOU, least=RAW_LEAST)
    return None


def _is_table(y: Array) -> bool:
    """Whether a sample of an output is a table that may hold boxes: a row of scores of classes has no such axes."""
    return len([d for d in y.shape[:-1] if d != 1]) <= 1 and y.shape[-1] >= 5 and (y.ndim > 2 or y.shape[0] > 1)


def _is_whole(values: Array) -> bool:
    return bool((values == np.rint(values)).all())


def _is_share(values: Array) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def said(text: Mapping[str, str], guess: BoxForm | None, size: tuple[int, int], outputs: Sequence[str]) -> BoxForm:
    """Return the form with what the user said of it. Raises SFN605 for what cannot be said, SFN321 where it lacks."""
    choices = {"format": FORMATS, "unit": UNITS, "background": BACKGROUNDS}
    changes: dict[str, Any] = {}
    for key, value in text.items():
        if key in ("boxes", "scores", "classes", "count"):
            changes[key] = _one_of(key, value, outputs)
        elif key in choices:
            changes[key] = _one_of(key, value, choices[key])
        elif key == "columns":
            changes[key] = tuple(_one_of(key, part, COLUMNS) for part in value.split("+"))
        elif key in ("iou", "least"):
            changes[key] = _share(key, value)
        elif key == "function":
            changes[key] = value
        else:
            known = "boxes, scores, classes, count, columns, format, unit, background, iou, least, function"
            raise fail("SFN605", f"--boxes {key}={value}", fix=f"there are: {known}")
    if guess is None and not changes.keys() & {"boxes", "function"}:
        raise fail("SFN321", f"the outputs {', '.join(outputs)} are none of the known forms of boxes", "",
                   "say it (--boxes boxes=NAME,scores=NAME,format=cxcywh), or give --boxes function=module:function, "
                   "called with the outputs of one image: return boxes (k, 4), scores (k,), classes (k,)")  # fmt: skip
    return _with(guess or BoxForm(), **changes).sized(size)


def _one_of(key: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise fail("SFN605", f"--boxes {key}={value}", fix=f"one of {', '.join(choices)}")
    return value


def _share(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise fail("SFN605", f"--boxes {key}={value}", fix="a number from 0 to 1")
    return number
