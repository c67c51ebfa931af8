"""Outputs are read as the boxes that they are, whatever the usual form; and boxes are scored as COCO does it."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.tasks import box_forms
from sfn_compile.tasks.average_precision import average_precision
from sfn_compile.tasks.boxes import Boxes, BoxForm, no_boxes, overlaps, suppressed
from sfn_compile.tasks.detection import recall_precision

HIGH, WIDE = 64, 96
CORNERS = np.array([[10, 20, 30, 60], [40, 8, 90, 30], [2, 2, 9, 9.0]])
SCORES, CLASSES = np.array([0.9, 0.8, 0.6]), np.array([1, 0, 2])
SIZES = CORNERS[:, 2:] - CORNERS[:, :2]
CENTRES = np.concatenate([CORNERS[:, :2] + SIZES / 2, SIZES], axis=1)
RELATIVE = CORNERS / (WIDE, HIGH, WIDE, HIGH)
NOTHING = np.tile([0.5, 0.5, 0.1, 0.1], (40, 1))
ONE_HOT = np.eye(3)[CLASSES] * SCORES[:, None]


def crowded(table: np.ndarray, n: int = 40) -> np.ndarray:
    """A raw table with many boxes of low score beside the real ones, as a network answers before suppression."""
    rng = np.random.default_rng(0)
    noise = np.concatenate([rng.uniform(0, 60, (n, 4)), np.full((n, table.shape[1] - 4), 0.001)], axis=1)
    doubled = table + np.array([1, 1, *[0] * (table.shape[1] - 2)])  # each box once more, a pixel beside
    doubled[:, 4:] *= 0.9
    return np.concatenate([noise, table, doubled])


def softmaxed(background: int) -> np.ndarray:
    """Scores of three classes and nothing, which sum to 1; most of many boxes are nothing."""
    rows = np.concatenate([ONE_HOT, np.zeros((40, 3))])
    return np.insert(rows, background, 1 - rows.sum(axis=1), axis=1).astype(np.float32)


FORMS = {
    "torchvision": {"boxes": CORNERS, "labels": CLASSES, "scores": SCORES.astype(np.float32)},
    "tensorflow": {
        "detection_boxes": RELATIVE[None, :, [1, 0, 3, 2]], "detection_classes": CLASSES[None].astype(np.float32),
        "detection_scores": SCORES[None].astype(np.float32), "num_detections": np.array([3.0], np.float32),
    },
    "yolov10": {"output0": np.concatenate([CORNERS, SCORES[:, None], CLASSES[:, None]], axis=1)[None]},
    "yolov7": {"output": np.concatenate([np.zeros((3, 1)), CORNERS, CLASSES[:, None], SCORES[:, None]], axis=1)},
    "caffe": {
        "out": np.concatenate([np.zeros((3, 1)), CLASSES[:, None], SCORES[:, None], RELATIVE], axis=1)[None, None]
    },
    "yolov8": {"output0": crowded(np.concatenate([CENTRES, ONE_HOT], axis=1)).T[None]},
    "yolov5": {"output": crowded(np.concatenate([CENTRES, np.ones((3, 1)), ONE_HOT], axis=1))[None]},
    "ssd": {"boxes": np.concatenate([RELATIVE, np.tile([0.1, 0.1, 0.2, 0.2], (40, 1))])[None],
            "scores": softmaxed(0)[None]},
    "detr": {"pred_boxes": np.concatenate([CENTRES / (WIDE, HIGH, WIDE, HIGH), NOTHING])[None],
             "probs": softmaxed(3)[None]},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_the_usual_forms_are_told_and_read(name):
    outputs = {
        key: np.asarray(y, np.float32) if np.asarray(y).dtype == np.float64 else y for key, y in FORMS[name].items()
    }
    form = box_forms.guessed([outputs, outputs], (HIGH, WIDE))
    assert form is not None
    found = form.read(outputs)
    found = found[found.scores >= 0.3]
    assert found.classes.tolist() == CLASSES.tolist()
    assert found.corners == pytest.approx(CORNERS, abs=1e-4)
    assert found.scores == pytest.approx(SCORES, abs=1e-6)


@pytest.mark.parametrize(
    "outputs", [{"y": np.zeros((1, 10))}, {"y": np.zeros((1, 6))}, {"y": np.zeros((1, 4))},
                {"y": np.zeros((1, 3, 8, 8))}, {"boxes": np.zeros((1, 5, 4))},
                {"a": np.zeros((1, 5, 4)), "b": np.zeros((1, 5, 4)), "scores": np.zeros((1, 5))}]
)  # fmt: skip
def test_other_outputs_are_no_boxes(outputs):
    assert box_forms.guessed([outputs], (HIGH, WIDE)) is None


def test_what_is_said_replaces_what_was_told():
    outputs = FORMS["torchvision"]
    guess = box_forms.guessed([outputs], (HIGH, WIDE))
    form = box_forms.said({"format": "xywh", "least": "0.7"}, guess, (HIGH, WIDE), tuple(outputs))
    assert (form.format, form.least, form.scores) == ("xywh", 0.7, "scores")
    assert len(form.read(outputs)) == 2
    with pytest.raises(CompileError, match="SFN605"):
        box_forms.said({"format": "xyxyx"}, guess, (HIGH, WIDE), tuple(outputs))
    with pytest.raises(CompileError, match="SFN605"):
        box_forms.said({"boxes": "nowhere"}, guess, (HIGH, WIDE), tuple(outputs))
    with pytest.raises(CompileError, match=r"SFN321.*none of the known forms"):
        box_forms.said({}, None, (HIGH, WIDE), ("y",))
    own = box_forms.said({"boxes": "y", "columns": "box+score", "unit": "relative"}, None, (HIGH, WIDE), ("y",))
    table = np.concatenate([RELATIVE, SCORES[:, None]], axis=1)
    assert own.read({"y": table[None]}).corners == pytest.approx(CORNERS)


def test_a_function_of_the_user_reads_boxes(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def boxes(outputs):\n    y = outputs['y'][0]\n    return y[:, :4] * 2, y[:, 4], [0] * len(y)\n"
        "def wrong(outputs):\n    return outputs['y']\n"
    )
    outputs = {"y": np.concatenate([CORNERS, SCORES[:, None]], axis=1)[None]}
    found = BoxForm(function=f"{tmp_path}/mine.py:boxes").read(outputs)
    assert found.corners == pytest.approx(2 * CORNERS)
    with pytest.raises(CompileError, match="SFN321"):
        BoxForm(function=f"{tmp_path}/mine.py:wrong").read(outputs)


def test_suppression_keeps_the_best_of_each_class():
    boxes = Boxes(np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10.0]]),
                  np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 1, 0]))  # fmt: skip
    assert suppressed(boxes, 0.5).scores.tolist() == [0.9, 0.7, 0.6]
    assert overlaps(boxes.corners[:1], boxes.corners)[0].tolist() == pytest.approx([1, 0.9, 1, 0])
    assert overlaps(boxes.corners, no_boxes().corners).shape == (4, 0)


def truth() -> list[Boxes]:
    return [Boxes(CORNERS, np.ones(3), CLASSES), no_boxes()]


def test_the_right_boxes_have_an_average_precision_of_one():
    found = [Boxes(CORNERS, SCORES, CLASSES), no_boxes()]
    assert average_precision(truth(), found) == pytest.approx({"map50": 1.0, "map": 1.0})
    assert recall_precision(truth(), found) == {"recall": 1.0, "precision": 1.0}


def test_average_precision_by_hand():
    """Class 1 is found at half the overlap, class 0 behind a box of nothing, class 2 not at all."""
    half = np.array([[10, 20, 30, 42]])  # 22 of 40 lines: an overlap of 0.55, so right at 0.5 and 0.55 of ten limits
    found = [Boxes(np.concatenate([half, CORNERS[1:2], [[60, 40, 70, 50.0]]]), np.array([0.9, 0.5, 0.7]),
                   np.array([1, 0, 0])), no_boxes()]  # fmt: skip
    scores = average_precision(truth(), found)
    assert scores["map50"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores["map"] == pytest.approx((0.2 + 0.5 + 0) / 3)
    assert recall_precision(truth(), found) == {"recall": 2 / 3, "precision": 2 / 3}


def test_a_true_box_is_found_once_and_only_by_its_class():
    twice = [Boxes(np.repeat(CORNERS[:1], 2, axis=0), np.array([0.9, 0.8]), np.array([1, 1])), no_boxes()]
    assert recall_precision(truth(), twice) == {"recall": 1 / 3, "precision": 1 / 2}
    other = [Boxes(CORNERS, SCORES, (CLASSES + 1) % 3), no_boxes()]
    assert recall_precision(truth(), other) == {"recall": 0.0, "precision": 0.0}


def test_a_crowd_counts_neither_way():
    many = [Boxes(CORNERS, np.ones(3), CLASSES, np.array([False, True, False]))]
    inside = np.array([[42, 10, 52, 20], [10, 20, 30, 60.0]])
    assert recall_precision(many, [Boxes(inside, np.array([0.9, 0.8]), np.array([0, 1]))]) == {
        "recall": 1 / 2,
        "precision": 1.0,
    }


def test_nothing_true_has_no_average_precision():
    assert average_precision([no_boxes()], [no_boxes()]) == {"map50": None, "map": None}
    assert average_precision(truth(), [no_boxes(), no_boxes()]) == {"map50": 0.0, "map": 0.0}
    assert recall_precision([no_boxes()], [no_boxes()]) == {"recall": None, "precision": None}


def test_without_pycocotools_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    with pytest.raises(CompileError, match="SFN613") as caught:
        average_precision(truth(), truth())
    assert "pip install 'sfnc[detection]'" in str(caught.value)
