"""The Lava artifact computes what the simulator computes, leaves nothing behind, and reads back as what was emitted.

Runs need a Python with lava-nc (see `sfn_backends/lava/interpreter.py`); where none is found those tests are skipped
with the reason and the command that installs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend, interpreter, neurons, products

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import (
    Dense,
    Elementwise,
    Identity,
    Move,
    Product,
    Projection,
    Transpose,
)
from sfn_compile.testing import conformance
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Builder, check

from .lava_programs import odd_shapes, products_of_all_ranks, rows_of_all_ranks, skip_over_max_pool, wide_map
from .lava_runs import PYTHON, bare, digest_or_code, edit, emit, needs_lava, request_for


# -- the artifact computes the simulator's integers --------------------------------------------------------------
@needs_lava
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_conformance_case_is_equal_to_the_simulator(case: conformance.Case, tmp_path: Path) -> None:
    result = check(LavaBackend(mode="whole"), case, tmp_path)
    assert result.mode == "whole"
    assert result.executed_by.startswith("lava-nc 0.10.0, Python 3.")


LAYERWISE = [conformance.residual, conformance.pools, conformance.moves, conformance.product_plus_skip,
             products_of_all_ranks, rows_of_all_ranks]  # fmt: skip


@needs_lava
@pytest.mark.parametrize(
    "make",
    [odd_shapes, skip_over_max_pool, wide_map, products_of_all_ranks, rows_of_all_ranks],
    ids=lambda f: f.__name__,
)
def test_unusual_maps_and_names_are_equal_to_the_simulator(make: Any, tmp_path: Path) -> None:
    check(LavaBackend(mode="whole"), conformance.Case(make.__name__, make), tmp_path)


@needs_lava
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("make", LAYERWISE, ids=lambda f: f.__name__)
def test_layer_by_layer_gives_the_same_integers(make: Any, tmp_path: Path) -> None:
    program = emit(make(), tmp_path)
    request = request_for(program)
    result = LavaBackend(mode="layerwise").run(tmp_path, request)
    assert result.mode == "layerwise"
    names = [s.name for s in program.steps if not isinstance(s, Move)]
    assert sorted(result.values) == sorted(names)
    assert [n for n in names if not np.array_equal(result.values[n], request.golden[n])] == []


@needs_lava
def test_auto_runs_layers_alone_above_the_cost_limit_and_only_with_golden_codes(tmp_path: Path) -> None:
    program = emit(conformance.mlp(), tmp_path)
    request = request_for(program)
    assert LavaBackend(whole_limit=0.0).run(tmp_path, request).mode == "layerwise"
    assert LavaBackend(whole_limit=0.0).run(tmp_path, replace(request, golden={})).mode == "whole"


@needs_lava
def test_a_layer_run_alone_uses_the_golden_codes_it_is_given(tmp_path: Path) -> None:
    """Proof that layerwise compares layers one by one: wrong golden codes of h change g and nothing else."""
    program = emit(conformance.mlp(), tmp_path)
    request = request_for(program)
    wrong = {**request.golden, "h": request.golden["h"] * 0}
    values = LavaBackend(mode="layerwise").run(tmp_path, replace(request, golden=wrong)).values
    assert [n for n in ("h", "g", "y") if not np.array_equal(values[n], request.golden[n])] == ["g"]


# -- the folder stands alone -------------------------------------------------------------------------------------
def check_alone(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the folder's own check in the Lava interpreter, from another directory."""
    command = [str(PYTHON), str(folder / "run.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=bare(), timeout=120)


@needs_lava
@pytest.mark.usefixtures("place")
def test_check_passes_without_sfnc_and_fails_after_an_edit(tmp_path: Path) -> None:
    folder = tmp_path / "lava"
    emit(conformance.conv_chain(), folder)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    assert not any("sfn_compile" in p.read_text() or "sfn_backends" in p.read_text() for p in folder.rglob("*.py"))
    done = check_alone(folder)
    assert (done.returncode, "OK: 3 of 3 layers equal" in done.stdout) == (0, True), done.stdout + done.stderr
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == files  # no cache, nothing written

    edit(folder / "golden.npz", layer0001=lambda x: x + (np.arange(x.size).reshape(x.shape) == 7))
    done = check_alone(folder)
    assert done.returncode == 1
    assert "different: c2: 1 of" in done.stdout
    assert "changed: golden.npz" in done.stdout
    assert "FAILED: 2 of 3 layers equal" in done.stdout


def test_wrong_usage_of_run_py_is_status_2(tmp_path: Path) -> None:
    emit(conformance.mlp(), tmp_path)
    command = [sys.executable, str(tmp_path / "run.py"), "--input", "x.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--input and --output" in done.stderr) == (2, True)


# -- what does not fit, and where Lava is not ----------------------------------------------------------------------
def test_a_connection_that_would_wrap_alone_is_refused(tmp_path: Path) -> None:
    """Two connections whose ranges cancel: the sum fits 24 bits, each alone does not, and Conv wraps each alone."""
    b = Builder((300,), lo=250, hi=255)
    w = np.full((2, 300), 127, np.int64)
    b.fire("y", Projection("x", Dense(w)), Projection("x", Dense(-w)))
    assert abs(b.build("y").values()["y"].hi) < 2**23
    with pytest.raises(CompileError, match=r"SFN401.*alone reaches 9715500"):
        emit(b.build("y"), tmp_path)


def test_a_product_that_would_wrap_alone_is_refused(tmp_path: Path) -> None:
    b = Builder((3,), lo=240, hi=260)
    b.fire("y", Product("x", "x", Elementwise(np.array(127))), Product("x", "x", Elementwise(np.array(-127))))
    with pytest.raises(CompileError, match=r"SFN401.*product of x and x into y alone reaches 8585200"):
        emit(b.build("y"), tmp_path)


def test_a_row_whose_sum_would_wrap_is_refused(tmp_path: Path) -> None:
    b = Builder((50_000,), hi=255)
    b.share("y", Projection("x", Identity(np.array(1))), norm="x", axis=0)
    with pytest.raises(CompileError, match=r"SFN401.*row sum of x into y alone reaches 12750000"):
        emit(b.build("y"), tmp_path)


@pytest.mark.parametrize(("key", "value"), [("axis", 0), ("delay", 1), ("source", "x")])
def test_reload_refuses_a_row_sum_that_makes_lava_run_another_network(key: str, value: Any, tmp_path: Path) -> None:
    """Drift of what scales the thresholds; a wrong delay would mix two samples."""
    program = emit(rows_of_all_ranks(), tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    (norm,) = [layer["norm"] for layer in manifest["layers"] if layer["name"] == "m"]
    assert norm[key] != value
    norm[key] = value
    path.write_text(json.dumps(manifest))
    assert digest_or_code(tmp_path) not in (program_files.digest(program), "SFN901")


def test_a_move_that_was_not_folded_is_refused(tmp_path: Path) -> None:
    b = Builder((2, 3, 4))
    program = b.build(b.move("t", Transpose((2, 0, 1)), "x"))
    with pytest.raises(CompileError, match=r"SFN402.*Transpose"):
        LavaBackend().emit(program, tmp_path, {})


def test_without_lava_the_reason_and_the_command_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = emit(conformance.mlp(), tmp_path)
    monkeypatch.setenv(interpreter.VARIABLE, str(tmp_path / "no-such-python"))
    reason = LavaBackend().available()
    assert reason is not None
    assert "no-such-python" in reason
    assert "pip install lava-nc==0.10.0" in reason
    with pytest.raises(CompileError, match="SFN601"):
        LavaBackend().run(tmp_path, request_for(program))


def test_sfnc_itself_never_imports_lava() -> None:
    code = "import sys, sfn_backends.lava; print([m for m in sys.modules if m.split('.')[0] in ('lava', 'scipy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_record_of_an_unknown_neuron_or_product_is_no_readout_and_no_elementwise_product():
    with pytest.raises(ValueError, match="no neuron is called 'spike'"):
        neurons.decode({"kind": "spike", "offset": "w", "offset_shape": (1,)}, {"w": np.zeros(1, np.int64)}, 1)
    record = {"form": "Maximum", "left": "a", "right": "b", "weight": "w", "left_shape": (1,), "weight_shape": (1,)}
    with pytest.raises(ValueError, match="no product is called 'Maximum'"):
        products.decode(record, {"w": np.ones(1, np.int64)})
