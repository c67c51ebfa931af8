"""Where Lava runs of a test put their scratch files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lava_runs import leftovers, until


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this test's runs; fails where one leaves a process, shared memory or a folder behind."""
    folder = tmp_path_factory.mktemp("place")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    until(lambda: not leftovers(folder), 5.0)
    assert leftovers(folder) == []
