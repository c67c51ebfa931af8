"""Which task a network has: as asked for, else told from the form of its outputs and labels; and what judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.labels import Labels
from ..evaluation.side_by_side import Pair
from ..evaluation.truth import Truth
from ..files.sample_files import Data
from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import part
from ..foundation.task_options import TASKS, TaskOptions
from . import box_forms, box_labels, mask_labels
from .boxes import BoxForm
from .classification import Classification
from .custom import Custom
from .detection import Detection, of_one
from .regression import Regression
from .segmentation import Segmentation

Array = NDArray[Any]
LOOKED_AT = 8  # samples that the form of boxes is told from
BOX_ROW = 5  # numbers of a box in an array of labels


@dataclass(frozen=True, eq=False)
class Chosen:
    """What judges the answers, and why it was chosen ("" where nothing judges them beside the labels)."""

    truth: Truth
    why: str = ""

    @property
    def task(self) -> Any:
        """The task, None where there is none."""
        return self.truth.task

    def as_dict(self) -> dict[str, Any] | None:
        """Return what ``eval.json`` says of it."""
        return None if self.task is None else {"name": self.task.name, "chosen_by": self.why}


@dataclass(frozen=True, eq=False)
class Known:
    """What the choice is made from: both networks, the data, and what the float network answers to a few samples."""

    pair: Pair
    data: Data
    asked: TaskOptions
    answers: Mapping[str, Any]
    n: int

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the model's outputs."""
        return self.pair.ending.outputs

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample of the first output."""
        found = self.answers[self.outputs[0]]
        return tuple(np.shape(found[0] if isinstance(found, tuple) else found)[0 if isinstance(found, tuple) else 1 :])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a sample of the first input that is an image."""
        shapes = [x.shape[1:] for x in self.data.x.values()]
        image = next((s for s in shapes if len(s) in (2, 3)), shapes[0])
        if len(image) < 2:
            return (1, 1)
        layout = (self.data.prepared or {}).get("layout") or ("NHWC" if image[-1] < image[0] else "NCHW")
        return (image[0], image[1]) if layout == "NHWC" and len(image) == 3 else (image[-2], image[-1])


def chosen(pair: Pair, data: Data, asked: TaskOptions) -> Chosen:
    """Return what judges the answers to ``data``. Raises SFN307, SFN321, SFN605, SFN613."""
    n = min(len(data), LOOKED_AT)
    known = Known(pair, data, asked, pair.float_answers(part(data.x, slice(n))), n)
    if asked.task is None:
        return _told(known)
    if asked.task not in TASKS:
        return Chosen(Truth(_labels_or_none(known), Custom(asked.task, known.outputs), data.labels), "--task")
    made = {"classification": _classification, "detection": _detection, "segmentation": _segmentation,
            "regression": _regression}[asked.task](known)  # fmt: skip
    return Chosen(made, "--task")


def _told(known: Known) -> Chosen:
    """Return the task that outputs and labels tell of."""
    asked, data = known.asked, known.data
    if asked.labels is not None:
        return Chosen(_segmentation(known), "the labels are a folder of masks") if asked.labels.is_dir() else Chosen(
            _detection(known), "the labels are boxes")  # fmt: skip
    if data.labels is not None and data.labels.ndim == 3 and data.labels.shape[2] == BOX_ROW and _guess(known):
        return Chosen(_detection(known), "outputs and labels have the form of boxes")
    if data.labels is not None:
        return _by_labels(known)
    if asked.boxes or _guess(known) is not None:
        return Chosen(_detection(known), "the outputs have the form of boxes; there are no labels")
    if len(known.shape) == 3 and _axis(known.shape, known.size) is not None:
        return Chosen(_segmentation(known), "the first output has scores for every position; there are no labels")
    return Chosen(Truth())


def _by_labels(known: Known) -> Chosen:
    """Return the task that labels beside the samples belong to."""
    labels = known.pair.read_labels(known.data.labels, known.data.x, known.data.label_place)
    assert labels is not None
    if labels.kind == "classes":
        return Chosen(_classification(known, labels), "a label is one class")
    if labels.kind == "targets":
        return Chosen(_regression(known, labels), "a label has the numbers of the output")
    if len([d for d in known.shape if d != 1]) > 1:
        return Chosen(_segmentation(known, labels), "a label is a class for every position")
    return Chosen(Truth(labels))


def _labels_or_none(known: Known) -> Labels | None:
    """Return the labels where they are understood beside the first output; a task of the user has its own."""
    try:
        return known.pair.read_labels(known.data.labels, known.data.x, known.data.label_place)
    except CompileError:
        return None


def _classification(known: Known, labels: Labels | None = None) -> Truth:
    if labels is None:
        if known.data.labels is None:
            raise fail("SFN307", "--task classification needs labels beside the samples", known.data.source,
                       "add an array `labels`, or folders named by class")  # fmt: skip
        labels = known.pair.read_labels(known.data.labels, known.data.x, known.data.label_place)
    if labels is None or labels.kind != "classes":
        raise fail("SFN321", "the labels are not one class per sample", known.data.label_place,
                   "give whole numbers, or another --task")  # fmt: skip
    return Truth(labels, Classification(known.outputs[0], known.data.classes), labels.values)


def _regression(known: Known, labels: Labels | None = None) -> Truth:
    """Return what judges real numbers; targets of several outputs stand side by side."""
    if known.pair.ending.each:
        raise fail("SFN321", "an output has another shape for every sample: no regression", known.outputs[0])
    sizes = tuple((name, int(np.size(known.answers[name][0]))) for name in known.outputs)
    task, given = Regression(sizes), known.data.labels
    if given is None:
        return Truth(None, task)
    of_first, of_all = sizes[0][1], sum(size for _, size in sizes)
    width = given.size // len(given)
    if width == of_first < of_all:
        task = Regression(sizes[:1])
    elif width != of_all:
        what = f"a label has {width} numbers, the outputs {of_all}"
        raise fail("SFN321", what, known.data.label_place, "targets of several outputs stand side by side, in order")
    labels = labels or (_labels_or_none(known) if width == of_first else None)
    return Truth(labels if labels and labels.kind == "targets" else None, task, given.reshape(len(given), -1))


def _segmentation(known: Known, labels: Labels | None = None) -> Truth:
    """Return what judges a class for every position."""
    masks, size = known.data.labels, known.size
    if known.asked.labels is not None:
        masks = mask_labels.of_folder(known.asked.labels, known.data, size)
    elif masks is not None:
        masks = masks.reshape(len(masks), *(d for d in masks.shape[1:] if d != 1)).astype(np.int64)
    if masks is not None:
        size = (int(masks.shape[1]), int(masks.shape[2])) if masks.ndim == 3 else (0, 0)
    axis, real = _axis(known.shape, size), [d for d in known.shape if d != 1]
    if axis is None and tuple(real) != size:
        what = f"a sample of output {known.outputs[0]!r} has shape {known.shape}, no scores for {size[0]}x{size[1]}"
        raise fail("SFN321", what, "", "judge it with a function of yours: --task module:function")
    count = _count(known, masks) if axis is None else known.shape[axis]
    labels = labels or (_labels_or_none(known) if known.asked.labels is None and masks is not None else None)
    return Truth(labels, Segmentation(known.outputs[0], axis, count), masks)


def _count(known: Known, masks: Array | None) -> int:
    """Return how many classes there are where no axis counts them: two, or as many as whole numbers tell of."""
    answers = np.asarray(known.answers[known.outputs[0]])
    if answers.dtype.kind not in "iu":
        return 2
    every = [answers.max(initial=1), *([] if masks is None else [masks[masks < mask_labels.VOID].max(initial=1)])]
    return 1 + int(max(every))


def _axis(shape: Sequence[int], size: tuple[int, int]) -> int | None:
    """Return the axis of a sample that counts the classes of every position, None where there is none."""
    if len(shape) != 3 or 1 in (shape[0], shape[2]):
        return None
    if tuple(shape[1:]) == size:
        return 0
    return 2 if tuple(shape[:2]) == size else None


def _guess(known: Known) -> BoxForm | None:
    try:
        return box_forms.guessed([of_one(known.answers, known.outputs, i) for i in range(known.n)], known.size)
    except (ValueError, IndexError):  # outputs that only look like boxes
        return None


def _detection(known: Known) -> Truth:
    """Return what judges boxes."""
    asked, data = known.asked, known.data
    text = {key: value for key, value in asked.boxes.items() if key != "labels"}
    form = box_forms.said(text, _guess(known), known.size, known.outputs)
    ids = asked.boxes.get("labels", "index") == "ids"
    classes: tuple[str, ...] = data.classes
    truth = None
    if asked.labels is not None:
        truth, classes = box_labels.of_coco(asked.labels, data, ids)
    elif data.labels is not None:
        truth = box_labels.of_array(data.labels, data.label_place)
    wanted = asked.task is not None or asked.labels is not None or bool(asked.boxes)
    task = Detection(known.outputs, form, classes, asked.shown, wanted)
    first = task.read(known.answers, known.n)
    most = max((int(b.classes[b.scores >= asked.shown].max(initial=-1)) for b in first), default=-1)
    if asked.labels is not None and most >= len(classes):
        what = f"the network says class {most}, the labels have {len(classes)} categories"
        raise fail("SFN321", what, str(asked.labels), "--boxes labels=ids where classes are the ids of the categories")
    return Truth(None, task, truth)
