"""Labels as people save them: what each is taken for, and how right a network is by it."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.evaluation.labels import Judged, read_labels
from sfn_compile.foundation.diagnostics import CompileError

from ..commands.cli_helpers import document, succeeds
from ..frontend.tiny_onnx import by_onnxruntime, noise, saved, tiny

RNG = np.random.default_rng(0)
CLASSES = np.array([2, 0, 1, 2])
ONE_HOT = np.eye(3)[CLASSES]
MANY = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]])
MAP = RNG.integers(0, 3, (4, 5, 6))

READ = [  # labels, shape of a sample's output, what they are, what is kept
    (CLASSES, (3,), "classes", CLASSES),
    (CLASSES.astype(float), (3,), "classes", CLASSES),
    (CLASSES.astype(np.uint8)[:, None], (1, 3), "classes", CLASSES),
    (ONE_HOT, (3,), "classes", CLASSES),
    (ONE_HOT.astype(bool), (3, 1, 1), "classes", CLASSES),
    (np.array([True, False, True, True]), (1,), "classes", [1, 0, 1, 1]),
    (np.array([0.0, 1, 1, 0]), (), "classes", [0, 1, 1, 0]),
    (MANY, (3,), "mask", MANY),
    (MAP, (3, 5, 6), "mask", MAP),
    (MAP[:, None], (3, 5, 6), "mask", MAP),
    (MAP > 0, (1, 5, 6), "mask", MAP > 0),
    (RNG.normal(size=4), (1,), "targets", None),
    (RNG.normal(size=(4, 1)), (), "targets", None),
    (RNG.normal(size=(4, 3)), (3,), "targets", None),
    (RNG.normal(size=(4, 3, 5, 6)), (3, 5, 6), "targets", None),
]


@pytest.mark.parametrize(("given", "shape", "kind", "kept"), READ)
def test_labels_are_known_by_their_shape_and_values(given, shape, kind, kept):
    found = read_labels(given, shape, "y", False, "d.npz [labels]")
    assert found.kind == kind
    expected = given.reshape(found.values.shape) if kept is None else kept
    assert np.array_equal(found.values, expected)


@pytest.mark.parametrize(
    ("given", "shape", "whole", "fix"),
    [
        (CLASSES + 1, (3,), False, "number classes from 0: labels - 1"),
        (CLASSES * 10, (3,), False, "the model's own numbering"),
        (np.array([3, 5, 9, 1]), (1,), False, "targets of a regression as floats"),
        (RNG.normal(size=4), (3,), False, "one integer from 0 to 2"),
        (RNG.normal(size=(4, 7)), (3,), False, "one integer from 0 to 2"),
        (CLASSES, (3, 5, 6), False, "a class per position, shape (n, 5, 6)"),
        (MAP + 7, (3, 5, 6), False, "the model's own numbering"),
        (np.full(4, np.nan), (1,), False, "leave these samples out"),
        (RNG.normal(size=4), (), True, "integers"),
    ],
)
def test_labels_that_fit_nothing_name_the_array_and_the_fix(given, shape, whole, fix):
    with pytest.raises(CompileError, match=r"SFN307 at d.npz \[labels\]") as caught:
        read_labels(given, shape, "y", whole, "d.npz [labels]")
    assert fix in caught.value.diagnostics[0].fix


def judged(labels, want, got, shape, whole=False) -> dict:
    found = read_labels(labels, shape, "y", whole, "")
    total, n = Judged(found.kind), len(labels)
    for piece in (slice(0, n // 2), slice(n // 2, n)):
        other = Judged(found.kind)
        other.add(found[piece], want[piece], got[piece])
        total.merge(other)
    return total.row()


def test_classes_by_the_largest_score():
    want, got = np.eye(3)[[2, 0, 1, 1]], np.eye(3)[[2, 0, 2, 1]]
    for labels in (CLASSES, ONE_HOT, CLASSES.astype(float)):
        row = judged(labels, want, got, (3,))["accuracy"]
        assert row == {"n": 4, "float_top1": 0.75, "snn_top1": 0.5, "agreement": 0.75}


def test_a_mask_counts_the_positions_that_were_labelled():
    scores = np.moveaxis(np.eye(3)[MAP], -1, 1)
    labels = MAP.copy()
    labels[0] = 255
    wrong = scores.copy()
    wrong[1, :, 0, 0] = np.roll(wrong[1, :, 0, 0], 1)
    row = judged(labels, scores, wrong, (3, 5, 6))["accuracy"]
    assert row == {"n": 4, "float_top1": 1.0, "snn_top1": 89 / 90, "agreement": 89 / 90, "places": 90}


def test_several_that_are_not_exclusive_say_yes_above_one_half():
    got = np.where(MANY == 1, 0.9, 0.2)
    got[0, 0] = 0.4
    row = judged(MANY, np.where(MANY == 1, 0.6, 0.4), got, (3,))["accuracy"]
    assert (row["float_top1"], row["snn_top1"], row["places"]) == (1.0, 11 / 12, 12)


@pytest.mark.parametrize("shape", [(1,), (3,)])
def test_targets_of_a_regression(shape):
    truth = RNG.normal(size=(30, *shape)) + 50
    want, got = truth + RNG.normal(size=truth.shape) / 10, truth + RNG.normal(size=truth.shape)
    row = judged(truth if shape != (1,) else truth[:, 0], want, got, shape)["regression"]
    signal = ((truth - truth.mean(axis=0)) ** 2).sum()
    for name, y in (("float", want), ("snn", got)):
        assert row[f"{name}_rmse"] == pytest.approx(np.sqrt(((y - truth) ** 2).mean()))
        assert row[f"{name}_r2"] == pytest.approx(1 - ((y - truth) ** 2).sum() / signal)
        each = np.sqrt(((y - truth) ** 2).mean(axis=0)).tolist() if shape != (1,) else []
        assert row[f"{name}_rmse_of_each"] == pytest.approx(each)


@pytest.mark.parametrize("more", [(), ("--workers", 2)])
def test_eval_of_a_regression_gives_its_error(more, tmp_path):
    model = tiny("f = Flatten(x) a = Gemm(f, k) r = Relu(a) y = Gemm(r, m)", x=(8,), k=noise(8, 6), m=noise(6, 1))
    path, x = saved(model, tmp_path), noise(200, 8)
    truth = by_onnxruntime(model, x)["y"] + 0.1 * noise(200, 1, seed=5)
    np.savez(tmp_path / "d.npz", x=x, y=truth)
    succeeds(path, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o", "-q")
    said = succeeds("eval", tmp_path / "o", "--data", tmp_path / "d.npz", *more).stdout
    found = document(tmp_path / "o" / "eval.json")
    assert found["regression"]["float_rmse"] == pytest.approx(
        np.sqrt((0.01 * noise(200, 1, seed=5) ** 2).mean()), rel=1e-3
    )
    assert found["regression"]["float_rmse"] < found["regression"]["snn_rmse"]
    assert "accuracy" not in found
    assert "rmse" in said
    assert "R2 0.9" in said
    succeeds("report", tmp_path / "o", "-q")
    assert "rmse" in (tmp_path / "o" / "report.html").read_text()
