"""Data as people have it: kinds of files by name, rows that are read, samples that are kept aside."""

from __future__ import annotations

import tracemalloc
import zipfile

import numpy as np
import pytest

from sfn_compile.files import mapped_arrays, sample_files
from sfn_compile.files.file_kinds import kind_of
from sfn_compile.files.sample_files import Data, kept_aside, load_data, subset
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.samples import ModelInput

from ..commands.cli_helpers import DIGITS, refused

X = [ModelInput("x", (3,), "float32")]


def place(tmp_path, name: str):
    """A file, or folder, as somebody might give it."""
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
        (path / ("saved_model.pb" if name.startswith("saved") else "notes.txt")).touch()
    elif name.endswith(".pt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    else:
        first = {"jpg": b"\xff\xd8\xff\xe0", "png": b"\x89PNG\r\n\x1a\n", "h5": b"\x89HDF\r\n\x1a\n",
                 "gz": b"\x1f\x8b\x08", "nir": b"\x89HDF\r\n\x1a\n", "tflite": b"\x1c\0\0\0TFL3",
                 "pth": b"\x80\x02}q"}  # fmt: skip
        path.write_bytes(first.get(name.rpartition(".")[2], b"1,2,3\n") + bytes(64))
    return path


KINDS = [
    ("picture", "text", "", ""),
    ("a.pt", "PyTorch", "np.savez", "torch.onnx.export"),
    ("a.pth", "PyTorch", "np.savez", "torch.onnx.export"),
    ("a.nir", "NIR network", "np.savez", "write it again with nir"),
    ("a.h5", "HDF5", "h5py", "tf2onnx"),
    ("a.txt", "text", "np.loadtxt", "give the network as .onnx"),
    ("a.npz.gz", "gzip", "unpack it", "unpack it"),
    ("a.tflite", "TensorFlow Lite", "np.savez", "--tflite"),
    ("a.pb", "TensorFlow graph", "np.savez", "tf2onnx"),
    ("a.safetensors", "safetensors", "np.savez", "torch.onnx.export"),
    ("a.onnx", "ONNX model", "np.savez", ""),
    ("pictures/", "a folder", "np.savez", "model.onnx"),
    ("saved/", "SavedModel", "np.savez", "--saved-model"),
]


@pytest.mark.parametrize(("name", "what", "data_fix", "model_fix"), KINDS)
def test_a_message_says_what_was_given_and_what_to_give(name, what, data_fix, model_fix, tmp_path):
    path = place(tmp_path, name)
    if not data_fix:
        assert kind_of(path) is None
        return
    said = refused("SFN301", 3, DIGITS, "--calib", path, "-o", tmp_path / "o")
    assert f"{what}" in said
    assert data_fix in said.partition("fix: ")[2]
    if model_fix:
        said = refused("SFN101", 3, "compile", path, "-o", tmp_path / "o")
        assert f"{what}" in said
        assert model_fix in said.partition("fix: ")[2]
        assert "no such file" not in said


@pytest.mark.parametrize(
    ("name", "code", "what"),
    [("a.jpg", "SFN319", "no readable image"), ("a.png", "SFN319", "no readable image"), ("a.csv", "SFN30", "a.csv")],
)
def test_an_image_or_a_table_that_cannot_be_read_is_told(name, code, what, tmp_path):
    path = place(tmp_path, name)
    assert what in refused(code, 3, DIGITS, "--calib", path, "-o", tmp_path / "o")
    assert "give the network as .onnx" in refused("SFN101", 3, "compile", path, "-o", tmp_path / "o")


def test_a_file_with_another_name_is_known_by_its_content(tmp_path):
    path = place(tmp_path, "a.jpg").rename(tmp_path / "data.npz")
    assert "JPEG" in refused("SFN301", 3, DIGITS, "--calib", path, "-o", tmp_path / "o")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("large", [1, mapped_arrays.LARGE])
@pytest.mark.parametrize("order", ["C", "F"])
def test_chosen_samples_are_those_of_all(save, large, order, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_arrays, "LARGE", large)
    monkeypatch.setattr(mapped_arrays, "_CHUNK", 64)  # several pieces
    x = np.asarray(np.random.default_rng(0).normal(size=(40, 3)), np.float32, order=order)
    save(tmp_path / "d.npz", x=x, labels=np.arange(40))
    some, every = load_data(tmp_path / "d.npz", X, 7, 3), subset(load_data(tmp_path / "d.npz", X), 7, 3)
    assert np.array_equal(some.x["x"], every.x["x"])
    assert some.labels.tolist() == every.labels.tolist()
    assert np.array_equal(some.x["x"], x[some.labels])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_is_that_of_the_samples_asked_for(save, tmp_path):
    save(tmp_path / "d.npz", x=np.zeros((4000, 10_000), np.float32))  # 160 MB
    tracemalloc.start()
    found = load_data(tmp_path / "d.npz", [ModelInput("x", (10_000,), "float32")], 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.x["x"].shape == (32, 10_000)
    assert peak < 80e6


def test_what_is_not_asked_for_is_not_looked_at(tmp_path):
    x = np.zeros((50, 3), np.float32)
    (used,) = set(load_data_places(tmp_path, x))
    x[(used + 1) % 50] = np.nan
    np.savez(tmp_path / "d.npz", x=x, strange=np.array([None]))
    assert len(load_data(tmp_path / "d.npz", X, 1, 0)) == 1
    with pytest.raises(CompileError, match=r"SFN305.*d.npz \[x\].*1 of 50"):
        load_data(tmp_path / "d.npz", X)


def load_data_places(tmp_path, x) -> list[int]:
    np.savez(tmp_path / "p.npz", x=x, labels=np.arange(len(x)))
    return list(load_data(tmp_path / "p.npz", X, 1, 0).labels)


def data_of(n: int, source: str = "d.npz") -> Data:
    return Data({"x": np.arange(3 * n).reshape(n, 3)}, np.arange(n), source, "")


@pytest.mark.parametrize(("n", "spared"), [(127, 0), (128, 12), (129, 12), (1000, 100), (2560, 256), (9000, 256)])
def test_a_tenth_is_kept_aside_from_128_samples_on(n, spared):
    rest, aside = kept_aside(data_of(n), 0)
    assert (0 if aside is None else len(aside)) == spared
    if aside is not None:
        assert sorted([*rest.labels, *aside.labels]) == list(range(n))
        assert np.array_equal(aside.x["x"][:, 0], 3 * aside.labels)
        assert aside.labels.tolist() != list(range(n - spared, n))  # files are often sorted by class
        again, other = kept_aside(data_of(n), 0)[1], kept_aside(data_of(n), 1)[1]
        assert again.labels.tolist() == aside.labels.tolist() != other.labels.tolist()


def test_generated_samples_are_not_kept_aside():
    assert kept_aside(data_of(500, "generated"), 0)[1] is None


def test_samples_in_a_mapped_file_stay_there(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_arrays, "LARGE", 1)
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    rest, aside = kept_aside(load_data(tmp_path / "d.npz", X), 0)
    assert isinstance(rest.x["x"], mapped_arrays.Rows)
    assert rest.x["x"].shape == (180, 3)
    everything = np.concatenate([np.asarray(rest.x["x"]), np.asarray(aside.x["x"])])
    assert sorted(everything.tolist()) == sorted(x.tolist())
    twice = mapped_arrays.rows_of(rest.x["x"], np.array([3, 5]))
    assert np.array_equal(twice[:], np.asarray(rest.x["x"])[[3, 5]])
    mapped_arrays.release(rest.x["x"])


def zeros_in_an_archive(path, shape: tuple[int, ...], n_bytes: int, key: str = "x"):
    """An archive whose array says ``shape`` and holds so many bytes, all 0, packed to a thousandth."""
    with (zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
          archive.open(f"{key}.npy", "w", force_zip64=True) as file):  # fmt: skip
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for start in range(0, n_bytes, 1 << 24):
            file.write(bytes(min(1 << 24, n_bytes - start)))
    return path


def most_held(load) -> int:
    """The most bytes held while something is loaded."""
    tracemalloc.start()
    try:
        load()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_megabytes_that_unfold_to_gigabytes_are_refused_before_they_do(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_files, "MOST_UNFOLDED", 1 << 26)
    path = zeros_in_an_archive(tmp_path / "bomb.npz", (30_000, 1024), 30_000 * 4096)
    wide = [ModelInput("x", (1024,), "float32")]

    def refused_whole():
        with pytest.raises(CompileError, match=r"SFN313.*MB in it unfold to 0.123 GB"):
            load_data(path, wide)

    assert most_held(refused_whole) < 1 << 24
    some = load_data(path, wide, samples=16)  # the fix that the message names: samples are picked as the file passes by
    assert some.x["x"].shape == (16, 1024)


def test_labels_that_unfold_to_gigabytes_are_refused_too(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((4, 3), np.float32))
    path = zeros_in_an_archive(tmp_path / "d.npz", (4, 10**9), 0, "labels")
    assert most_held(lambda: load_refused(path, "SFN301.*its header says")) < 1 << 24


def load_refused(path, words: str) -> None:
    with pytest.raises(CompileError, match=words):
        load_data(path, X)


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_header_that_says_more_than_there_is_asks_for_no_memory(kind, tmp_path):
    path = zeros_in_an_archive(tmp_path / "a.npz", (10**12, 3), 48)
    if kind == "npy":
        with zipfile.ZipFile(path) as archive:
            (tmp_path / "a.npy").write_bytes(archive.read("x.npy"))
        path = tmp_path / "a.npy"
    assert most_held(lambda: load_refused(path, "SFN301.*its header says")) < 1 << 24
