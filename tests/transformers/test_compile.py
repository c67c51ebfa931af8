"""Whole transformers through the compiler: built for the simulator, proved equal in both engines, refused by NIR."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sfn_compile.cli.main import cli
from sfn_compile.commands.build import build
from sfn_compile.commands.verify import verify
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.program.network import Normalization
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import load
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import edge_inputs

HERE = Path(__file__).parent
MODELS = sorted(HERE.glob("*.onnx"))
SHIPPED = HERE.parents[1] / "models" / "fashion_vit.onnx"
WITHOUT_SOFTMAX = ("groupnorm", "instancenorm", "mixer")
WITHOUT_NORM = ("mha_tf", "mha_masked", "sdpa_masked", "sdpa_causal", "einsum")


def random_data(path: Path, folder: Path, n: int = 8) -> Path:
    """Calibration samples of noise for a model, labels included."""
    shape = compile_model(path, Options(method="minmax")).program.inputs[0].model_shape
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.standard_normal((n, *shape)).astype(np.float32), labels=np.zeros(n, np.int64))
    return folder / "data.npz"


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_transformer_is_built_whole_and_verified(path, tmp_path):
    built = build(path, tmp_path / "out", Options(method="minmax"), None)
    coverage = built.report["coverage"]
    assert coverage["mapped"] == coverage["nodes"]
    assert coverage["host"] == 0
    program = program_files.load(tmp_path / "out")
    inputs = edge_inputs(program, 3)
    fast, plain = run_codes(program, inputs), run_codes(program, inputs, engine="reference")
    assert [name for name in fast if not np.array_equal(fast[name], plain[name])] == []
    document = verify(tmp_path / "out", samples=2).document
    assert document["targets"]["sim"]["different"] == 0
    assert document["targets"]["sim"]["compared"] > 0


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_nir_refuses_it_by_the_names_of_its_nodes(path):
    program = compile_model(path, Options(method="minmax")).program
    with pytest.raises(CompileError) as caught:
        legalize(program, "nir", load("nir").capabilities)
    said = caught.value.diagnostics
    assert {d.code for d in said} == {"SFN402"}
    rows = [s for s in program.steps if isinstance(s, Normalization)]
    nodes = {node for step in rows for node in step.origin.nodes}
    assert [n for n in nodes if not any(n in (d.where or "") for d in said)] == []
    words = " ".join(d.what for d in said)
    name = path.stem.split("-")[0]
    assert ("normalisation by a row" in words) == (name not in WITHOUT_NORM)
    assert ("as softmax needs" in words) == (name not in WITHOUT_SOFTMAX)


def test_the_command_line_compiles_verifies_and_reports_attention(tmp_path):
    path = HERE / "vit-script-n.onnx"
    out, data = tmp_path / "out", random_data(path, tmp_path)
    run = CliRunner()
    done = run.invoke(cli, [str(path), "--calib", str(data), "--target", "sim,onnx", "--attention-levels", "63", "-o",
                            str(out)])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert run.invoke(cli, ["verify", str(out), "--samples", "2"]).exit_code == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["options"]["attention_levels"] == 63
    rows = {r["name"]: r for r in report["layers"]}
    kinds = [r["kind"] for r in report["layers"]]
    assert (kinds.count("exponential"), kinds.count("ratio"), kinds.count("normalization")) == (1, 1, 3)
    (exponential,) = [r for r in report["layers"] if r["kind"] == "exponential"]
    (softmax,) = report["attention"]
    assert (softmax["name"], softmax["levels"]) == (exponential["name"], 63)
    assert sum(softmax["distribution"]) == pytest.approx(1, abs=1e-3)
    assert (exponential["lo"], exponential["hi"], exponential["saturation"] > 0) == (0, 63, True)
    factors = [r for r in report["layers"] if "factor of a matrix product" in r.get("reason", "")]
    assert factors
    assert {r["levels"] for r in factors} == {63}
    assert rows["/patch/Conv_output_0"]["reason"] == "only read as it is, and rounded again there"
    assert all(set(p) >= {"sources", "kind", "macs"} for r in rows.values() for p in r.get("products", []))


def test_nir_is_refused_and_the_other_target_still_built(tmp_path):
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, [str(HERE / "mixer-dynamo-n.onnx"), "--calib",
                                    str(random_data(HERE / "mixer-dynamo-n.onnx", tmp_path)), "--target", "sim,nir",
                                    "-o", str(out)])  # fmt: skip
    assert done.exit_code == 4
    assert "SFN402" in done.stderr
    assert (out / "sim" / "program.json").is_file()


def test_the_shipped_transformer_is_verified_on_the_simulator_and_onnxruntime(tmp_path):
    rng = np.random.default_rng(0)
    shape = compile_model(SHIPPED, Options(method="minmax", samples=1)).program.inputs[0].model_shape
    np.savez(tmp_path / "c.npz", x=rng.random((8, *shape)).astype(np.float32), labels=np.zeros(8, np.int64))
    built = build(SHIPPED, tmp_path / "out", Options(targets=("sim", "onnx")), tmp_path / "c.npz")
    assert not built.refusals
    document = verify(tmp_path / "out", samples=1).document
    assert {k: v["different"] for k, v in document["targets"].items()} == {"sim": 0, "onnx": 0}
    assert all(v["compared"] > 10_000 for v in document["targets"].values())


@pytest.mark.parametrize(
    "how", [{"method": "sfn", "method_options": {"ladder": "lloyd-max"}}, {"method_options": {"offset": "0"}}]
)
def test_what_follows_a_row_or_is_carried_on_stays_uniform_and_says_so(how):
    """A book or another offset goes to all other sites; the report has the reason for these."""
    plain = {"its threshold follows the sum of a row", "its threshold follows a deviation",
             "another population fires its rounding error"}  # fmt: skip
    graph = compile_model(HERE / "vit-script-n.onnx", Options(levels=15, samples=8, **how)).graph
    found = [n.op.levels for n in graph.nodes if getattr(n.op, "levels", None) is not None]
    changed = [lv for lv in found if lv.book is not None or lv.offset != 0.5]
    reasons = {lv.reason.removeprefix("uniform, rounding to nearest: ") for lv in found if "uniform" in lv.reason}
    assert changed
    assert reasons == plain
    assert not any("uniform" in lv.reason for lv in changed)
