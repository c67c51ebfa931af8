"""Builds that are small and hold every file that a build can hold; tests change copies of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sfn_backends.nir import witnesses

from ..commands.cli_helpers import succeeds
from ..frontend.detectors import yolo
from ..frontend.tiny_onnx import noise, saved, tiny

BODY = """a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) q = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
          c = Conv(q, w2) d = Relu(c) f = Flatten(d) y = Gemm(f, k)"""
COARSE = ("--levels", 3, "--input-levels", 15, "--no-reconstruct", "--quiet")


@pytest.fixture(autouse=True)
def no_readers(monkeypatch):
    """The stock readers of NIR are tested elsewhere; here they would be started hundreds of times."""
    monkeypatch.setattr(witnesses, "interpreter", lambda: None)


def _measured(out: Path, data: Path) -> None:
    """Leave the documents of the other commands in a build too."""
    succeeds("eval", out, "--data", data, "--samples", 20, "--quiet")
    succeeds("verify", out, "--on", "sim", "--quiet")
    succeeds("bisect", out, "--data", data, "--samples", 4, "--limit", -50, "--quiet")
    succeeds("report", out, "--quiet")


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A folder with ``data.npz`` and the build ``out`` of a network for all targets."""
    home = tmp_path_factory.mktemp("small")
    weights = {"w": noise(3, 2, 3, 3), "b": noise(3), "w2": noise(4, 3, 2, 2), "k": noise(16, 3)}
    model = saved(tiny(BODY, x=(2, 6, 6), **weights), home)
    np.savez(home / "data.npz", x=noise(24, 2, 6, 6), labels=np.arange(24) % 3)
    succeeds(model, "--calib", home / "data.npz", "--target", "sim,onnx,nir,lava", *COARSE, "-o", home / "out")
    _measured(home / "out", home / "data.npz")
    return home


@pytest.fixture(scope="session")
def detector(tmp_path_factory) -> Path:
    """The same of a network whose end runs on the host."""
    home = tmp_path_factory.mktemp("detector")
    model = saved(yolo(), home)
    np.savez(home / "data.npz", x=noise(24, 3, 8, 8))
    succeeds(model, "--calib", home / "data.npz", "--target", "sim", *COARSE, "-o", home / "out")
    _measured(home / "out", home / "data.npz")
    return home


@pytest.fixture(scope="session")
def spoiled(tmp_path_factory, small, detector) -> dict[str, Path]:
    """Copies of both folders, in which a test changes a file and puts it back."""
    copies = tmp_path_factory.mktemp("spoiled")
    for home, name in ((small, "small"), (detector, "detector")):
        shutil.copytree(home, copies / name)
    return {"small": copies / "small", "detector": copies / "detector"}
