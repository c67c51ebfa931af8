"""A pass that needs levels or integers cannot be given a Layer without them: the type checker says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Activation, IntegerForm, IntegerReadout, IntegerSite, Layer, Site, Term
from sfn_compile.graph.ops.stages import at_levels, levels_of, with_integers, with_ladder, without_integers
from sfn_compile.program.network import Dense, Readout

ROOT, FILE = Path(__file__).parents[2], Path(__file__).with_name("stages_to_check.py")


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of one file; an ignored error that is none is an error."""
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_type_checker_refuses_a_layer_without_integers(tmp_path):
    """Every ``type: ignore`` of the file hides an error, and there is no other one."""
    pytest.importorskip("mypy", reason="mypy is not installed (extra: lint)")
    done = mypy(FILE)
    assert done.returncode == 0, done.stdout
    bare = tmp_path / "bare.py"
    text = FILE.read_text(encoding="utf-8")
    wanted = {i for i, line in enumerate(text.splitlines(), 1) if "# type: ignore" in line}
    bare.write_text("\n".join(line.partition("  # type: ignore")[0] for line in text.splitlines()), encoding="utf-8")
    found = {int(line.split(":")[1]) for line in mypy(bare).stdout.splitlines() if ": error:" in line}
    assert found == wanted


def layer(activation: Activation | None) -> Layer:
    return Layer((Term(Dense(np.ones((1, 1)))),), np.zeros(1), activation)


LEVELS = Levels(np.ones(1), 0, 3, np.zeros(1, bool))
FORM = IntegerForm((Term(Dense(np.ones((1, 1), np.int64))),), np.ones(1), 0, 3)


def test_a_layer_gets_levels_then_integers_then_thresholds_and_can_go_back():
    site = at_levels(layer(Activation("relu")), Activation("relu"), LEVELS)
    integer = with_integers(site, FORM)
    folded = with_ladder(integer, Readout(np.zeros(1, np.int64)))
    assert [type(x).__name__ for x in (site, integer, folded)] == ["Site", "IntegerSite", "FoldedSite"]
    assert folded.levels is levels_of(folded) is LEVELS
    assert folded.integer is FORM
    back = without_integers(folded)
    assert type(back) is Site
    assert back.terms is site.terms


def test_a_readout_has_no_levels():
    integer = with_integers(layer(None), FORM)
    assert type(integer) is IntegerReadout
    assert not isinstance(integer, IntegerSite)
    assert levels_of(integer) is None
    assert type(without_integers(integer)) is Layer


def test_what_fires_gets_no_integers_before_its_levels():
    with pytest.raises(AssertionError, match="its levels are not chosen"):
        with_integers(layer(Activation("relu")), FORM)
