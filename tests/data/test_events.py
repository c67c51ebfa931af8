"""Recordings of event cameras become frames of counts, the same from every form of file; a damaged one is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfn_compile.data.given import Asked
from sfn_compile.data.sources import open_data
from sfn_compile.files.sample_files import Data
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.preparation import Preparation
from sfn_compile.foundation.samples import ModelInput, in_frames

from .event_files import AEDAT4, SIDE, events, frames, save, together

SUM = ModelInput("events", (2, SIDE, SIDE), "float32")


def read(place: Path, source: ModelInput = SUM, samples: int | None = None, **how: object) -> Data:
    return open_data(place, Asked([source], samples, preparation=Preparation(**how)))


def of_frames(n: int, channels: int = 2, side: int = SIDE) -> ModelInput:
    return ModelInput("events", (n, channels, side, side), "float32")


@pytest.mark.parametrize("name", ["r.npz", "r.npy", "r.bin", "made.aedat4"])
def test_every_form_of_file_holds_the_same_events(name, tmp_path):
    if name == "made.aedat4":
        pytest.importorskip("aedat", reason="aedat is not installed (pip install 'sfnc[events]')")
    place = AEDAT4 if name == "made.aedat4" else save(tmp_path / name, events())
    found = read(place, of_frames(4))
    assert np.array_equal(found.x["events"], frames(events(), 4)[None])
    assert found.x["events"].dtype == np.float32
    assert found.labels is None
    assert found.prepared == {"kind": "events", "bins": "time", "frames": 4, "window": None, "sensor": None}


@pytest.mark.parametrize("bins", ["time", "count"])
@pytest.mark.parametrize("window", [None, 20.0, 1000.0])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_frames_are_what_the_definition_says_and_sum_up_to_one_frame(bins, window, n, tmp_path):
    place = save(tmp_path / "r.npz", events())
    found = read(place, of_frames(n), bins=bins, window=window).x["events"]
    assert np.array_equal(found[0], frames(events(), n, bins, window))
    assert np.array_equal(found.sum(axis=1), read(place, bins=bins, window=window).x["events"])
    assert found.sum() == (120 if window != 20.0 else (events()["t_us"] - events()["t_us"][0] < 20000).sum())


def test_frames_part_where_the_specification_says(tmp_path):
    made = {**{name: np.zeros(5, np.int64) for name in ("x", "y", "polarity")}, "t_us": np.array([7, 11, 12, 16, 16])}
    place = save(tmp_path / "r.npz", made)
    counts = {how: read(place, of_frames(2), bins=how).x["events"].sum(axis=(0, 2, 3, 4)) for how in ("time", "count")}
    assert counts["time"].tolist() == [2, 3]  # 10 microseconds: 0 to 4, 5 to 9
    assert counts["count"].tolist() == [3, 2]
    assert read(place, of_frames(2), window=0.01).x["events"].sum(axis=(0, 2, 3, 4)).tolist() == [2, 3]
    assert read(place, of_frames(2), window=0.009).x["events"].sum(axis=(0, 2, 3, 4)).tolist() == [2, 1]


def test_frames_may_be_channels_and_polarities_may_be_put_together(tmp_path):
    place = save(tmp_path / "r.npz", events())
    stacked = read(place, ModelInput("events", (6, SIDE, SIDE), "int32"), frames=3)
    assert np.array_equal(stacked.x["events"][0], frames(events(), 3).reshape(6, SIDE, SIDE))
    grey = read(place, ModelInput("events", (SIDE, SIDE), "int32")).x["events"][0]
    assert np.array_equal(grey, frames(events(), 1, channels=1)[0, 0])
    assert np.array_equal(read(place, of_frames(2, 1)).x["events"][0], frames(events(), 2, channels=1))
    assert np.array_equal(read(place, frames=2).x["events"][0], frames(events(), 2, channels=1)[:, 0])


def test_over_time_the_first_axis_is_that_of_frames(tmp_path):
    place = save(tmp_path / "r.npz", events())
    for inner, channels in (((2, SIDE, SIDE), 2), ((1, SIDE, SIDE), 1), ((SIDE, SIDE), 1)):
        (source,) = in_frames([ModelInput("events", inner, "float32")], 2)
        found = open_data(place, Asked([source])).x["events"][0]
        assert np.array_equal(found, frames(events(), 2, channels=channels).reshape(2, *inner))
    (source,) = in_frames([ModelInput("events", (6, SIDE, SIDE), "float32")], 2)
    with pytest.raises(CompileError, match="SFN316"):
        open_data(place, Asked([source]))


def test_pixels_of_a_larger_sensor_are_put_together(tmp_path):
    place = save(tmp_path / "r.npz", events())
    found = read(place, ModelInput("events", (2, 16, 16), "float32"), sensor="34x34")
    assert np.array_equal(found.x["events"], frames(events(), 1, side=16))
    assert found.prepared["sensor"] == "34x34"
    with pytest.raises(CompileError, match="smaller than the model's input"):
        read(place, sensor="16x34")


def test_labels_are_those_of_the_file_or_the_names_of_folders(tmp_path):
    made = [events(seed) for seed in range(5)]
    whole = save(tmp_path / "all.npz", {**together(made), "labels": np.array([4, 0, 1, 1, 3])})
    found = read(whole)
    assert found.labels.tolist() == [4, 0, 1, 1, 3]
    assert np.array_equal(found.x["events"], [frames(one, 1)[0] for one in made])
    some = read(whole, samples=2)
    assert [found.labels[[n == name for n in found.names]][0] for name in some.names] == some.labels.tolist()
    for i, (name, suffix) in enumerate([("0", "bin"), ("7", "npz"), ("7", "npy"), ("10", "bin")]):
        save(tmp_path / "folder" / name / f"{i}.{suffix}", made[i])
    (tmp_path / "folder" / "0" / "notes.txt").write_text("no recording")
    found = read(tmp_path / "folder")
    assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {
        "0/0.bin": 0, "7/1.npz": 7, "7/2.npy": 7, "10/3.bin": 10}  # fmt: skip
    assert len({read(tmp_path / "folder").sha256, found.sha256, read(tmp_path / "folder" / "7").sha256}) == 2


def test_the_clock_of_a_bin_may_run_over(tmp_path):
    made = events()
    place = save(tmp_path / "r.bin", made)
    raw = np.frombuffer(place.read_bytes(), np.uint8).reshape(-1, 5)
    place.write_bytes(np.concatenate([raw[:60], [[0, 240, 0, 0, 0]], raw[60:]]).astype(np.uint8).tobytes())
    late = {**made, "t_us": made["t_us"] + 8192 * (np.arange(120) >= 60)}
    assert np.array_equal(read(place, of_frames(9)).x["events"][0], frames(late, 9))


def cut(path: Path, by: int) -> Path:
    path.write_bytes(path.read_bytes()[:-by])
    return path


E = events()
NONE = {name: values[:0] for name, values in E.items()}
BACK = {**E, "t_us": np.where(np.arange(120) == 50, 3, E["t_us"])}
DAMAGED = {
    "cut.bin": ("SFN315", lambda p: cut(save(p, E), 2), "598 bytes"),
    "cut.npz": ("SFN301", lambda p: cut(save(p, E), 100), "not a readable"),
    "shorter.npz": ("SFN315", lambda p: save(p, {**E, "x": E["x"][:-1]}), "119 x"),
    "reals.npz": ("SFN315", lambda p: save(p, {**E, "t_us": E["t_us"] / 1e6}), "t are float64"),
    "many.npz": ("SFN315", lambda p: save(p, {**E, "polarity": E["x"]}), "polarities"),
    "offsets.npz": ("SFN315", lambda p: save(p, {**E, "offsets": np.array([0, 90, 80, 120])}), "ascending"),
    "outside.bin": ("SFN316", lambda p: save(p, {**E, "x": E["x"] + (np.arange(120) == 7) * 99}), "event 7 is at x = "),
    "negative.npz": ("SFN316", lambda p: save(p, {**E, "y": E["y"] - 40}), "outside 34 x 34"),
    "back.bin": ("SFN317", lambda p: save(p, BACK), "event 50 is at 3 us"),
    "back.npz": ("SFN317", lambda p: save(p, together([E, BACK])), "[recording 1]"),
    "empty.bin": ("SFN318", lambda p: save(p, NONE), "no event"),
    "empty.npz": ("SFN318", lambda p: save(p, together([E, NONE, E])), "[recording 1]"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_recording_is_named(name, tmp_path):
    code, make, words = DAMAGED[name]
    place = make(tmp_path / name)
    for what in (place, tmp_path) if code != "SFN301" else (place,):
        if what is tmp_path and words == "[recording 1]":
            code, words = "SFN315", "in a folder every file is one"
        with pytest.raises(CompileError) as caught:
            read(what)
        (found,) = caught.value.diagnostics
        assert (found.code, str(place) in found.where) == (code, True)
        assert words in str(found)
        assert found.fix


def test_a_folder_is_what_most_of_it_is(tmp_path):
    for name in ("a.bin", "b.npz"):
        save(tmp_path / "r" / name, E)
        save(tmp_path / "p" / name, E)
    for place, n in (("r", 1), ("p", 3)):
        for i in range(n):
            Image.new("L", (SIDE, SIDE)).save(tmp_path / place / f"{i}.png")
    assert read(tmp_path / "r").names == ("a.bin", "b.npz")
    pictures = read(tmp_path / "p", ModelInput("x", (1, SIDE, SIDE), "float32"))
    assert pictures.names == ("0.png", "1.png", "2.png")


def test_in_a_folder_a_damaged_file_is_not_passed_over(tmp_path):
    save(tmp_path / "a.npz", E)
    cut(save(tmp_path / "b.npz", E), 100)
    with pytest.raises(CompileError, match=r"SFN315 at .*b\.npz"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("shape", "how", "words"),
    [
        ((10, SIDE, SIDE), {}, "--frames 5"), ((10, SIDE, SIDE), {"frames": 4}, "not 4 frames"),
        ((3, 2, SIDE, SIDE), {"frames": 2}, "a sample is 3 frames"), ((10,), {}, "bin the recordings yourself"),
        ((SIDE, SIDE), {"frames": 2}, "not 2 frames"), ((2, 3, SIDE, SIDE), {}, "not T frames"),
    ],
)  # fmt: skip
def test_an_input_that_takes_no_frames_of_events_is_refused(shape, how, words, tmp_path):
    with pytest.raises(CompileError, match=r"SFN316|SFN605") as caught:
        read(save(tmp_path / "r.npz", E), ModelInput("events", shape, "float32"), **how)
    assert words in str(caught.value)


def test_counts_that_the_inputs_type_does_not_hold_are_refused(tmp_path):
    there = {name: np.concatenate([E[name] * 0] * 2) for name in E}
    place = save(tmp_path / "r.npz", there)
    with pytest.raises(CompileError, match="a pixel has 240 events in a frame"):
        read(place, ModelInput("events", (2, SIDE, SIDE), "int8"))
    assert read(place, ModelInput("events", (2, SIDE, SIDE), "uint8")).x["events"].max() == 240


def test_the_sensor_that_an_aedat4_names_is_not_shrunk_unasked():
    pytest.importorskip("aedat", reason="aedat is not installed (pip install 'sfnc[events]')")
    small = ModelInput("events", (2, 17, 17), "float32")
    with pytest.raises(CompileError, match="its sensor has 34 x 34 pixels") as caught:
        read(AEDAT4, small)
    assert "--sensor 34x34" in str(caught.value)
    assert np.array_equal(read(AEDAT4, small, sensor="34x34").x["events"], frames(E, 1, side=17))


def test_a_damaged_aedat4_is_named(tmp_path):
    pytest.importorskip("aedat", reason="aedat is not installed (pip install 'sfnc[events]')")
    for n, content in enumerate((b"", b"#!AER-DAT4.0\r\n", AEDAT4.read_bytes()[:-900])):
        place = tmp_path / f"{n}.aedat4"
        place.write_bytes(content)
        with pytest.raises(CompileError, match=rf"SFN315 at .*{n}\.aedat4"):
            read(place)


def test_without_the_package_of_aedat4_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(CompileError, match="SFN613") as caught:
        read(AEDAT4)
    assert "pip install 'sfnc[events]'" in str(caught.value)


def test_options_of_images_are_not_for_events_nor_the_other_way_round(tmp_path):
    with pytest.raises(CompileError, match=r"SFN605.*--scale: the data are events"):
        read(save(tmp_path / "r.npz", E), scale="1/255")
    np.save(tmp_path / "x.npy", np.zeros((2, 2, SIDE, SIDE), np.float32))
    with pytest.raises(CompileError, match=r"SFN605.*--bins, --window: the data are arrays"):
        read(tmp_path / "x.npy", bins="time", window=3.0)
