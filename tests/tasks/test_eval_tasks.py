"""`sfnc eval` with every task, on small networks: the numbers are those that a few lines of NumPy give."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sfn_compile
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.tasks.classification import Classification
from sfn_compile.tasks.mask_labels import moved

from ..commands.cli_helpers import DIGITS, TEST, document, refused, succeeds
from ..frontend.tiny_onnx import noise, saved, tiny

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3, 16, 12)).astype(np.float32)


def told(net, name: str, model: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the float network and the spiking one say for an output."""
    import onnxruntime as ort

    found = net(x)
    mine = found[name] if isinstance(found, dict) else found
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run([name], {session.get_inputs()[0].name: x})[0], mine


# -- classes ---------------------------------------------------------------------------------------------------------
def test_classes_have_top_5_and_a_confusion(out):
    labels = np.load(TEST)["labels"]
    succeeds("eval", out, "--data", TEST, "--quiet")
    found = document(out / "eval.json")
    row = found["classification"]
    want, got = told(sfn_compile.load(out), "logits", DIGITS, np.load(TEST)["image"].astype(np.float32))
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, got.argmax(1)), 1)
    assert row["snn_confusion"] == confusion.tolist()
    assert row["float_top5"] == np.mean([label in np.argsort(-y)[:5] for label, y in zip(labels, want, strict=True)])
    assert row["snn_top1"] == found["accuracy"]["snn_top1"] == np.trace(confusion) / len(labels)
    assert found["task"] == {"name": "classification", "chosen_by": "a label is one class"}
    off = [[i, j, int(confusion[i, j])] for i in range(10) for j in range(10) if i != j and confusion[i, j]]
    assert row["snn_mistakes"] == sorted(off, key=lambda r: (-r[2], r[:2]))[:10]


def test_in_many_processes_a_task_gives_the_same_numbers(out):
    alone = json.loads(succeeds("eval", out, "--data", TEST, "--json").stdout)
    spread = json.loads(succeeds("eval", out, "--data", TEST, "--json", "--workers", 2).stdout)
    assert alone == spread


# -- masks -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> tuple[Path, sfn_compile.Network]:
    place = tmp_path_factory.mktemp("segmenter")
    body = "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) y = Conv(r, k)"
    model = saved(tiny(body, (3, 16, 12), w=noise(8, 3, 3, 3), b=noise(8), k=noise(4, 8, 1, 1)), place, "s.onnx")
    return model, sfn_compile.compile(model, calib=X)


def mean_iou(right: np.ndarray, said: np.ndarray) -> float:
    known = right != 255
    ious = [np.sum((right == c) & (said == c) & known) / union for c in range(4)
            if (union := np.sum(((right == c) | (said == c)) & known))]  # fmt: skip
    return float(np.mean(ious))


def test_masks_have_a_mean_iou(segmenter, tmp_path):
    model, net = segmenter
    want, got = (y.argmax(1) for y in told(net, "y", model, X))
    masks = np.where(RNG.random(want.shape) < 0.2, RNG.integers(0, 4, want.shape), want)
    masks[:, :2] = 255
    found = net.evaluate((X, masks), draw=tmp_path / "drawn", examples=2)
    row, known = found["segmentation"], masks != 255
    assert row["snn_miou"] == pytest.approx(mean_iou(masks, got))
    assert row["float_miou"] == pytest.approx(mean_iou(masks, want))
    assert row["snn_pixel_accuracy"] == pytest.approx(np.mean(got[known] == masks[known]))
    assert row["against_float"]["miou"] == pytest.approx(mean_iou(want, got))
    assert found["accuracy"]["snn_top1"] == pytest.approx(row["snn_pixel_accuracy"])
    assert found["drawn"] == ["000.png", "001.png"]
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "000.png"))
    assert drawn.shape[1] > 2 * 300
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20


def test_without_labels_masks_are_compared_with_the_float_network(segmenter):
    _, net = segmenter
    found = net.evaluate(X)
    assert found["segmentation"]["snn_miou"] is None
    assert found["segmentation"]["against_float"]["miou"] > 0.5
    assert "no labels" in found["task"]["chosen_by"]


def test_masks_lie_in_a_folder_beside_images(segmenter, tmp_path):
    model, _ = segmenter
    for i in range(6):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        big = RNG.integers(0, 256, (32, 24, 3), np.uint8)  # twice as large: half a pixel lies between
        Image.fromarray(big).save(tmp_path / "images" / f"{i}.jpg", quality=95)
        mask = Image.fromarray(np.repeat(np.repeat(RNG.integers(0, 4, (16, 12), np.uint8), 2, 0), 2, 1))
        mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        mask.save(tmp_path / "masks" / f"{i}.png")
    net = sfn_compile.compile(model, calib=tmp_path / "images")
    found = net.evaluate(tmp_path / "images", labels=tmp_path / "masks")
    assert found["task"]["chosen_by"] == "the labels are a folder of masks"
    assert found["segmentation"]["classes"] == 4
    assert 0 < found["segmentation"]["float_miou"] < 0.5
    Image.fromarray(np.full((32, 24), 9, np.uint8)).save(tmp_path / "masks" / "0.png")
    with pytest.raises(CompileError, match="a mask holds class 9"):
        net.evaluate(tmp_path / "images", labels=tmp_path / "masks")
    (tmp_path / "masks" / "0.png").unlink()
    with pytest.raises(CompileError, match=r"there is no mask for '0\.jpg'"):
        net.evaluate(tmp_path / "images", labels=tmp_path / "masks")


def test_a_mask_moves_as_its_image_does():
    """Three pixels of another class, in an image that is halved and moved by one position."""
    mask = np.zeros((8, 8), int)
    mask[4, 2:5] = 3
    found = moved(mask, np.array([0.5, 0.5, 1.0, 0.0]), (4, 6))
    want = np.zeros((4, 6), int)
    want[:, [0, 5]] = 255
    assert np.array_equal(found, want)  # of two rows and columns the second is the nearest: 1, 3, 5, 7
    mask[5, 3] = 2
    assert moved(mask, np.array([0.5, 0.5, 1.0, 0.0]), (4, 6))[2].tolist() == [255, 0, 2, 0, 0, 255]


def test_top_5_counts_the_first_five_and_ties_by_number():
    scores = np.array([[9, 8, 7, 6, 5, 4, 3], [1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0.0]])
    judge = Classification("y").begin()
    judge.add(np.array([4, 4, 5]), {"y": scores}, {"y": scores[:, ::-1]})
    assert judge.row()["float_top5"] == 2 / 3
    assert judge.row()["snn_top5"] == 1


# -- boxes -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> tuple[Path, sfn_compile.Network]:
    """Twelve boxes with scores of two classes, as raw as they come out of a head."""
    place = tmp_path_factory.mktemp("detector")
    body = """a = Conv<strides=[4,4]>(x, w, b) r = Relu(a)
        c = Conv(r, k) d = Sigmoid(c) e = Reshape(d, s4) boxes = Transpose<perm=[0,2,1]>(e)
        f = Conv(r, m) g = Sigmoid(f) h = Reshape(g, s2) scores = Transpose<perm=[0,2,1]>(h)"""
    model = tiny(body, (3, 16, 12), outputs=("boxes", "scores"), w=noise(8, 3, 4, 4), b=noise(8),
                 k=0.3 * noise(4, 8, 1, 1), m=0.5 * noise(2, 8, 1, 1), s4=np.array([0, 4, 12]),
                 s2=np.array([0, 2, 12]))  # fmt: skip
    saved(model, place, "d.onnx")
    return place / "d.onnx", sfn_compile.compile(place / "d.onnx", calib=X)


HOW = {"boxes": "format=cxcywh,unit=relative"}


def test_boxes_are_compared_with_those_of_the_float_network(detector, tmp_path):
    _, net = detector
    found = net.evaluate(X, **HOW, draw=tmp_path / "drawn", examples=3)
    row = found["detection"]
    assert row["truth"] == "the float network's boxes"
    assert row["float_map50"] is None
    assert row["snn_map50"] == row["against_float"]["map50"] > 0.3
    assert row["boxes"]["float"] > 0
    assert len(found["drawn"]) == 3
    assert found["task"]["chosen_by"] == "the outputs have the form of boxes; there are no labels"


def labels_of(net, model: Path) -> np.ndarray:
    """Labels that are the float network's own boxes of high score, as rows of class and corners."""
    boxes, scores = (told(net, name, model, X)[0] for name in ("boxes", "scores"))
    rows = np.full((len(X), 12, 5), -1.0)
    for i in range(len(X)):
        for k, (box, score) in enumerate(zip(boxes[i] * (12, 16, 12, 16), scores[i], strict=True)):
            if score.max() > 0.55:
                rows[i, k] = score.argmax(), *(box[:2] - box[2:] / 2), *(box[:2] + box[2:] / 2)
    return rows


def test_labels_of_boxes_stand_beside_the_samples(detector):
    model, net = detector
    labels = labels_of(net, model)
    row = net.evaluate((X, labels), **HOW, min_map=0.1)["detection"]
    assert row["truth"] == "labels"
    assert row["boxes"]["labels"] == int((labels[:, :, 0] >= 0).sum())
    assert row["float_map50"] >= row["snn_map50"] > 0.3
    assert row["float_recall"] > 0.6
    with pytest.raises(CompileError, match=r"SFN502.*min-map"):
        net.evaluate((X, labels), **HOW, min_map=0.999)


def coco(labels: np.ndarray, names: list[str], factor: float = 1.0) -> dict:
    rows = [{"id": i * 12 + k + 1, "image_id": i, "category_id": 7 + int(row[0]),
             "bbox": [factor * row[1], factor * row[2], factor * (row[3] - row[1]), factor * (row[4] - row[2])]}
            for i in range(len(labels)) for k, row in enumerate(labels[i]) if row[0] >= 0]  # fmt: skip
    return {"images": [{"id": i, "file_name": name} for i, name in enumerate(names)], "annotations": rows,
            "categories": [{"id": 7, "name": "ant"}, {"id": 8, "name": "bee"}]}  # fmt: skip


def test_labels_of_boxes_are_coco_s_json(detector, tmp_path):
    model, net = detector
    labels = labels_of(net, model)
    (tmp_path / "l.json").write_text(json.dumps(coco(labels, [""] * len(X))))
    by_array, by_json = (net.evaluate(X if how else (X, labels), **HOW, **how)["detection"]
                         for how in ({}, {"labels": tmp_path / "l.json"}))  # fmt: skip
    assert by_json["names"] == ["ant", "bee"]
    for key in ("float_map", "snn_map", "snn_recall", "snn_precision"):
        assert by_json[key] == pytest.approx(by_array[key])


def test_boxes_move_with_their_images(detector, tmp_path):
    """Images are twice as large as the input: so are the boxes in the labels."""
    _, net = detector
    (tmp_path / "images").mkdir()
    for i in range(6):
        small = RNG.integers(0, 256, (16, 12, 3), np.uint8)
        Image.fromarray(np.repeat(np.repeat(small, 2, 0), 2, 1)).save(tmp_path / "images" / f"{i}.png")
    box = np.tile([0, 2, 2, 10, 12.0], (6, 1, 1))
    (tmp_path / "l.json").write_text(json.dumps(coco(box, [f"{i}.png" for i in range(6)], 2.0)))
    own = "def boxes(outputs):\n    return [[2, 2, 10, 12]], [0.9], [0]\n"
    (tmp_path / "mine.py").write_text(own)
    how = {"scale": 1 / 255, "labels": tmp_path / "l.json", "boxes": f"function={tmp_path}/mine.py:boxes"}
    assert net.evaluate(tmp_path / "images", **how)["detection"]["float_map"] == pytest.approx(1)
    (tmp_path / "l.json").write_text(json.dumps(coco(box, [f"{i}.png" for i in range(5)] + ["other.png"])))
    with pytest.raises(CompileError, match=r"it has no image '5.png'"):
        net.evaluate(tmp_path / "images", **how)


def test_boxes_that_nobody_asked_about_need_no_pycocotools(detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    row = detector[1].evaluate(X)["detection"]
    assert row["snn_map50"] is None
    assert row["snn_recall"] is not None
    assert "pycocotools is not installed" in row["lacking"]
    with pytest.raises(CompileError, match="SFN613"):
        detector[1].evaluate(X, task="detection")
    with pytest.raises(CompileError, match="SFN509"):
        detector[1].evaluate(X, min_map=0.1)


@pytest.mark.parametrize(
    ("how", "words"),
    [({"task": "segmentation"}, "no scores for"), ({"task": "classification"}, "needs labels"),
     ({"task": "nothing"}, "one of classification"), ({"boxes": "format=round"}, "one of xyxy"),
     ({"labels": "nowhere.json"}, "no such file"), ({"task": "no_such:f"}, "cannot be imported")]
)  # fmt: skip
def test_what_does_not_fit_is_refused(detector, how, words):
    with pytest.raises(CompileError, match=words):
        detector[1].evaluate(X, **how)


# -- numbers, and functions of the user ------------------------------------------------------------------------------
def test_numbers_have_an_error_for_every_output(tmp_path):
    body = "a = Gemm(x, w, b) r = Relu(a) y = Gemm(r, k) z = Gemm(r, m)"
    model = saved(tiny(body, (6,), outputs=("y", "z"), w=noise(6, 12), b=noise(12), k=noise(12, 2), m=noise(12, 3)),
                  tmp_path, "r.onnx")  # fmt: skip
    x = RNG.normal(size=(200, 6)).astype(np.float32)
    net = sfn_compile.compile(model, calib=x)
    (y, my), (z, mz) = told(net, "y", model, x), told(net, "z", model, x)
    targets = np.concatenate([y, z], axis=1) + 0.1 * RNG.normal(size=(200, 5))
    row = net.evaluate((x, targets), task="regression")["regression"]
    error = ((mz - targets[:, 2:]) ** 2).sum()
    spread = ((targets[:, 2:] - targets[:, 2:].mean(axis=0)) ** 2).sum()
    assert row["of_outputs"]["z"]["snn"]["rmse"] == pytest.approx(np.sqrt(error / 600))
    assert row["of_outputs"]["z"]["snn"]["r2"] == pytest.approx(1 - error / spread)
    assert row["of_outputs"]["y"]["float"]["rmse"] == pytest.approx(np.sqrt(((y - targets[:, :2]) ** 2).mean()))
    assert row["snn_rmse"] == pytest.approx(np.sqrt(((np.concatenate([my, mz], 1) - targets) ** 2).mean()))
    alone = net.evaluate(x, task="regression")["regression"]
    assert alone["snn_rmse"] is None
    assert alone["against_float"]["y"]["rmse"] == pytest.approx(np.sqrt(((my - y) ** 2).mean()))


def test_a_task_of_the_user(out, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def right(outputs, labels):\n    return {'share': (outputs['logits'].argmax(1) == labels).mean()}\n"
        "def shape(outputs, labels):\n    return outputs['logits'].shape\n"
    )
    found = json.loads(succeeds("eval", out, "--data", TEST, "--task", f"{tmp_path}/mine.py:right", "--json").stdout)
    assert found["custom"]["snn_share"] == found["accuracy"]["snn_top1"]
    assert found["custom"]["float_share"] == found["accuracy"]["float_top1"]
    message = refused("SFN321", 3, "eval", out, "--data", TEST, "--task", f"{tmp_path}/mine.py:shape")
    assert "it gives tuple for 'score', a number is needed" in message


def test_the_terminal_says_the_task(out, detector):
    said = succeeds("eval", out, "--data", TEST).stdout
    assert "task classification (a label is one class)" in said
    np.savez(out.parent / "x.npz", x=X)
    other = out.parent / "detector"
    succeeds("compile", detector[0], "--calib", out.parent / "x.npz", "-o", other, "--quiet")
    said = succeeds("eval", other, "--data", out.parent / "x.npz", "--boxes", HOW["boxes"]).stdout
    assert "against the float network's boxes: mAP@0.5 0." in said
