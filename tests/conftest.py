"""Builds of the demo network and a tiny model, for every test of the command line; which tests are slow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .commands.cli_helpers import CALIB, DIGITS, succeeds
from .frontend.tiny_onnx import noise, saved, tiny

# What `make quick` leaves out: Lava, stock readers, the corpus, learning, whole compilations by the dozen, mypy.
SLOW = (
    "backends", "benchmarks", "commands", "compiler", "corpus", "evaluation", "faults", "fuzz", "learning", "search",
    "transformers", "calibration", "cli", "docs/test_blocks", "docs/test_howto", "docs/test_python",
    "docs/test_site", "report", "spec", "passes/mapping", "frontend/test_fuzz.py",
    "frontend/test_head.py", "frontend/test_hostile", "frontend/test_tail.py", "house/test_closed_unions.py",
    "passes/test_stages.py",
)  # fmt: skip
HERE = Path(__file__).parent
# Scripts that make fixtures, with torch and packages that no test needs.
collect_ignore = ["backends/nir_foreign/make_fixtures.py", "report/neurobench_fixture.py", "api/torch_models.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take long by the folder or file that they are in."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A build of the demo network, never changed by a test."""
    out = tmp_path_factory.mktemp("digits") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 120, "-o", out, "--quiet")
    return out


@pytest.fixture
def out(made, tmp_path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture
def little(tmp_path) -> Path:
    """A tiny model for what needs no real network."""
    body = "a = Conv(x, w, b) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    return saved(tiny(body, w=noise(4, 3, 3, 3), b=noise(4), k=noise(64, 2)), tmp_path, "little.onnx")
