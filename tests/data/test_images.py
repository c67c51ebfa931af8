"""A folder of images becomes the samples that torchvision's transforms make of it, and a build remembers how."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfn_compile.data.given import Asked
from sfn_compile.data.sources import open_data
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.preparation import Preparation
from sfn_compile.foundation.samples import ModelInput

from ..commands.cli_helpers import document, refused, succeeds
from ..frontend.tiny_onnx import noise, saved, tiny

NCHW, NHWC = ModelInput("x", (3, 8, 12), "float32"), ModelInput("x", (8, 12, 3), "float32")


def picture(wide: int, high: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (high, wide, 3), np.uint8))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine images of three classes, of several sizes and modes, beside things that are none."""
    place = tmp_path / "photos"
    for i, (name, size) in enumerate([("ant", (12, 8)), ("bee", (24, 16)), ("cat", (30, 41))] * 3):
        (place / name).mkdir(parents=True, exist_ok=True)
        picture(*size, seed=i).save(place / name / f"{i}.png")
    (place / "ant" / "notes.txt").write_text("no image")
    (place / ".hidden").mkdir()
    picture(3, 3).save(place / ".hidden" / "x.png")
    return place


def read(folder: Path, source: ModelInput = NCHW, **how: object):
    return open_data(folder, Asked([source], preparation=Preparation(**how)))


def test_folders_are_classes_and_what_was_done_is_recorded(folder):
    found = read(folder)
    assert found.classes == ("ant", "bee", "cat")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.names[:2] == ("ant/0.png", "ant/3.png")
    assert found.prepared == {"kind": "images", "resize": None, "crop": None, "scale": "1/255", "mean": None,
                              "std": None, "layout": "NCHW", "color": "rgb"}  # fmt: skip


def test_an_image_of_the_right_size_is_its_pixels(folder):
    pixels = np.asarray(Image.open(folder / "ant" / "0.png"))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    want = (pixels.astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    assert np.array_equal(read(folder, NHWC, mean=mean, std=std).x["x"][0], want)
    assert np.array_equal(read(folder, mean=mean, std=std).x["x"][0], want.transpose(2, 0, 1))
    assert np.array_equal(read(folder, NHWC, scale="1", color="bgr").x["x"][0], pixels[:, :, ::-1])
    grey = read(folder, ModelInput("x", (1, 8, 12), "uint8")).x["x"][0, 0]
    assert np.array_equal(grey, np.asarray(Image.open(folder / "ant" / "0.png").convert("L")))


def test_numbers_of_an_integer_input_are_pixels(folder):
    found = read(folder, ModelInput("x", (8, 12, 3), "uint8"))
    assert found.x["x"].dtype == np.uint8
    assert found.prepared["scale"] == "1"
    assert np.array_equal(found.x["x"][0], np.asarray(Image.open(folder / "ant" / "0.png")))


@pytest.mark.parametrize(
    ("resize", "frame"),
    [
        (None, (0.4, 16 / 41, 0, -4)),  # 30x41 to 12x16: fills 12x8, then cut
        ("20", (20 / 30, 27 / 41, -4, -10)), ("8x12", (12 / 30, 8 / 41, 0, 0)), ("fit", (6 / 30, 8 / 41, 3, 0)),
    ],
)  # fmt: skip
def test_a_frame_says_where_a_point_of_the_image_went(resize, frame, tmp_path):
    image = Image.new("RGB", (30, 41))
    image.paste((255, 255, 255), (10, 16, 20, 26))  # a white square in the middle
    image.save(tmp_path / "i.png")
    found = read(tmp_path / "i.png", NHWC, resize=resize, scale="1")
    assert found.frames[0] == pytest.approx(frame)
    a, b, c, d = found.frames[0]
    x, y = 15 * a + c, 21 * b + d  # its centre
    assert found.x["x"][0, int(y), int(x)].min() > 150  # smaller images mix a pixel with its neighbours
    outside = found.x["x"][0, 0, 0].tolist()
    assert outside == ([114, 114, 114] if resize == "fit" else [0, 0, 0])


def test_whole_numbers_as_names_are_the_numbers_of_classes(tmp_path):
    for name in ("2", "10", "0"):
        (tmp_path / "d" / name).mkdir(parents=True)
        picture(12, 8).save(tmp_path / "d" / name / "a.png")
    found = read(tmp_path / "d")
    assert sorted(found.labels.tolist()) == [0, 2, 10]


def test_images_without_folders_have_no_labels(folder):
    assert read(folder / "ant").labels is None
    picture(12, 8).save(folder / "top.png")
    assert read(folder).labels is None
    assert len(read(folder)) == 10


@pytest.mark.parametrize(
    ("source", "how", "words"),
    [
        (NCHW, {"resize": "6"}, "after the resize"), (NCHW, {"crop": "9x9"}, "--crop 9x9"),
        (NCHW, {"mean": (1.0, 2.0)}, "--mean has 2 numbers"), (NCHW, {"layout": "NHWC"}, "no image"),
        (ModelInput("x", (3, 8, 3), "float32"), {}, "both ends"), (ModelInput("x", (5,), "float32"), {}, "no image"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(source, how, words, folder):
    with pytest.raises(CompileError, match="SFN319") as caught:
        read(folder, source, **how)
    assert words in str(caught.value)


def test_an_image_of_16_bits_is_refused_not_cut(tmp_path):
    Image.fromarray(np.full((8, 12), 40_000, np.uint16)).save(tmp_path / "i.png")
    with pytest.raises(CompileError, match="more than 8 bits"):
        read(tmp_path / "i.png", ModelInput("x", (1, 8, 12), "float32"))


def test_without_pillow_the_message_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CompileError, match=r"SFN613.*Pillow") as caught:
        read(folder)
    assert "pip install 'sfnc[images]'" in str(caught.value)


# -- with a build ----------------------------------------------------------------------------------------------------
@pytest.fixture
def model(tmp_path) -> Path:
    body = "a = Conv(x, w, b) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    return saved(tiny(body, (3, 8, 12), w=noise(4, 3, 3, 3), b=noise(4), k=noise(240, 3)), tmp_path, "little.onnx")


def test_later_commands_prepare_images_as_compile_did(folder, model, tmp_path):
    how = ("--mean", "0.5,0.4,0.3", "--std", "0.2", "--resize", "12")
    succeeds(model, "--calib", folder, *how, "-o", tmp_path / "o", "--quiet")
    recorded = document(tmp_path / "o" / "manifest.json")["calibration"]["prepared"]
    assert (recorded["mean"], recorded["std"], recorded["resize"]) == ([0.5, 0.4, 0.3], [0.2], "12")
    succeeds("run", tmp_path / "o", "--input", folder, "-o", tmp_path / "a.npz", "--codes", "--quiet")
    prepared = read(folder, mean=(0.5, 0.4, 0.3), std=(0.2,), resize="12")
    np.savez(tmp_path / "same.npz", x=prepared.x["x"], labels=prepared.labels)
    succeeds("run", tmp_path / "o", "--input", tmp_path / "same.npz", "-o", tmp_path / "b.npz", "--codes", "--quiet")
    succeeds("run", tmp_path / "o", "--input", folder, "--mean", "0", "-o", tmp_path / "c.npz", "--codes", "--quiet")
    a, b, c = (np.load(tmp_path / name)["x"] for name in ("a.npz", "b.npz", "c.npz"))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    found = succeeds("eval", tmp_path / "o", "--data", folder, "--json").stdout
    assert '"float_top1"' in found
    succeeds("bisect", tmp_path / "o", "--data", folder, "--quiet", "--limit", "-99")
    succeeds("verify", tmp_path / "o", "--data", folder, "--samples", "3", "--quiet")
    one = succeeds("run", tmp_path / "o", "--input", folder / "ant" / "0.png", "-o", tmp_path / "d.npz")
    assert "wrote 1 arrays" in one.stderr


def test_a_build_that_saw_no_images_asks_how_pixels_become_numbers(folder, model, tmp_path):
    succeeds(model, "-o", tmp_path / "o", "--quiet")
    assert "--scale 1/255" in refused("SFN319", 3, "eval", tmp_path / "o", "--data", folder)
    succeeds("eval", tmp_path / "o", "--data", folder, "--scale", "1/255", "--quiet")


def test_images_are_prepared_only_where_there_are_some(model, tmp_path):
    assert "without --calib" in refused("SFN605", 2, model, "--resize", "8", "-o", tmp_path / "o")
    assert "HxW" in refused("SFN605", 2, model, "--calib", model, "--resize", "8xx", "-o", tmp_path / "o")
