"""The page on Python says what happens: its blocks are run, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ..torch_python import run_with_torch

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/guide/python.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def there(tmp_path, monkeypatch) -> Path:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_blocks_run_in_order(there, capsys):
    space: dict[str, Any] = {}
    plain = [block for block in BLOCKS if "import torch" not in block]
    assert len(plain) == len(BLOCKS) - 1 == 5
    for block in plain:
        exec(compile(block, "python.md", "exec"), space)
    assert space["y"].shape == (5, 10)
    printed = capsys.readouterr().out
    assert "'snn_top1'" in printed
    assert "logits  10      accumulator" in printed
    assert "SFN502" in printed


def test_the_block_with_torch_runs(there):
    (block,) = (b for b in BLOCKS if "import torch" in b)
    (there / "block.py").write_text(block + "\nprint(type(y).__name__, tuple(y.shape), accuracy['n'], net.verify())\n")
    printed = run_with_torch(there / "block.py", there)
    assert printed.startswith("Tensor (4, 10) 400 <proved: sim 0 of ")
