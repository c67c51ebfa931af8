"""Large arrays stay in their file, with the numbers that NumPy reads; a damaged one is refused as ever."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.files import mapped_arrays

from ..commands.cli_helpers import CALIB, DIGITS, contents, refused, succeeds


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(mapped_arrays, "LARGE", 1)


ARRAYS = {
    "x": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "labels": np.array([3, 1], np.int8),
}


@pytest.mark.usefixtures("everything_is_large")
def test_arrays_of_a_plain_npz_are_mapped(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    found = mapped_arrays.read(tmp_path / "a.npz")
    assert all(isinstance(v, np.memmap) for v in found.values())
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in ARRAYS.items()}
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in ARRAYS.items()}


@pytest.mark.usefixtures("everything_is_large")
def test_an_npy_is_mapped(tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS["x"])
    found = mapped_arrays.read(tmp_path / "a.npy")["x"]
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, ARRAYS["x"])


@pytest.mark.usefixtures("everything_is_large")
def test_compressed_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS)
    found = mapped_arrays.read(tmp_path / "a.npz")
    assert not any(isinstance(v, np.memmap) for v in found.values())
    assert all(np.array_equal(found[k], v) for k, v in ARRAYS.items())


@pytest.mark.usefixtures("everything_is_large")
def test_what_was_let_go_is_read_again(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    found = mapped_arrays.read(tmp_path / "a.npz")["x"]
    some = found[1:]
    before = some.copy()
    mapped_arrays.release(found)
    mapped_arrays.release(some.reshape(-1))
    assert np.array_equal(some, before)
    mapped_arrays.release(before)  # an array of its own: nothing to let go
    assert np.array_equal(some, before)


@pytest.mark.usefixtures("everything_is_large")
def test_a_changed_byte_in_a_large_array_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 1, 8, 8), np.float32))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert "not a readable" in refused("SFN301", 3, DIGITS, "--calib", path, "-o", tmp_path / "out")


@pytest.mark.parametrize("options", [(), ("--levels", 3, "--epochs", 1)])
def test_a_build_from_mapped_samples_is_the_build_from_read_ones(options, tmp_path, monkeypatch):
    with np.load(CALIB) as npz:
        np.savez(tmp_path / "calib.npz", **{k: npz[k][:150] for k in npz.files})
    found = []
    for large in (mapped_arrays.LARGE, 1):
        monkeypatch.setattr(mapped_arrays, "LARGE", large)
        succeeds("compile", DIGITS, "--calib", tmp_path / "calib.npz", "-o", tmp_path / str(large), "--quiet", *options)
        files = contents(tmp_path / str(large))
        found.append({k: v for k, v in files.items() if k != "timing.json"})
    assert found[0] == found[1]
