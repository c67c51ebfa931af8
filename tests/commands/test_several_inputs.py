"""Networks with several inputs and outputs of every kind, from the file to the proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from sfn_compile.files import build_folder
from sfn_compile.frontend.reference import FloatReference

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import document, refused, sfnc, succeeds

FUSION = tiny(
    "c = Cast<to=1>(camera) s = Div(c, full) a = Conv<pads=[1,1,1,1]>(s, w, b) r = Relu(a) p = GlobalAveragePool(r)"
    "f = Flatten(p) q = Gemm(x, k) t = Tanh(q) j = Concat<axis=1>(f, t, goal) h = Gemm(j, l) i = Relu(h)"
    "y = Gemm(i, m, n) best = ArgMax<axis=1, keepdims=0>(y)",
    x=(5,), inputs=", uint8[N,3,6,6] camera, float[N,2] goal, float[N] clock", outputs=("y",), full=np.float32(255),
    w=noise(4, 3, 3, 3), b=noise(4), k=noise(5, 6), l=noise(12, 16), m=noise(16, 3), n=noise(3),
)  # fmt: skip
FUSION.graph.output.append(type(FUSION.graph.output[0])(name="best"))


def answers(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as npz:
        return dict(npz)


def readings(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, 5)).astype(np.float32), "goal": 9 * rng.random((n, 2), np.float32),
            "camera": rng.integers(0, 256, (n, 3, 6, 6), np.uint8)}  # fmt: skip


@pytest.fixture
def fusion(tmp_path):
    path = saved(FUSION, tmp_path, "fusion.onnx")
    np.savez(tmp_path / "data.npz", **readings(128))
    np.savez(tmp_path / "test.npz", **readings(300, 1))
    return path


def test_a_fusion_network_is_compiled_run_proved_and_measured(fusion, tmp_path):
    out = tmp_path / "out"
    succeeds(fusion, "--calib", tmp_path / "data.npz", "--target", "sim,lava", "-o", out, "--levels", 63)
    succeeds("verify", out, "--on", "sim")
    proof = document(out / "proof.json")["targets"]["sim"]
    assert proof["compared"] > 0
    assert proof["different"] == 0
    succeeds("run", out, "--input", tmp_path / "test.npz", "-o", tmp_path / "y.npz")
    got, x = answers(tmp_path / "y.npz"), readings(300, 1)
    want = FloatReference(fusion, list(x), None).run(x)
    assert got["best"].dtype == np.int64
    assert np.array_equal(got["best"], got["y"].argmax(axis=1))
    assert (got["best"] == want["best"]).mean() > 0.9
    succeeds("eval", out, "--data", tmp_path / "test.npz")
    outputs = document(out / "eval.json")["outputs"]
    assert outputs["best"] == {"agreement": (got["best"] == want["best"]).mean()}
    assert outputs["y"]["sqnr_db"] > 25


def test_every_input_has_an_encoding_of_its_own(fusion, tmp_path):
    out = tmp_path / "out"
    succeeds(fusion, "--calib", tmp_path / "data.npz", "-o", out)
    manifest, program = build_folder.open_build(out)
    assert [e.name for e in program.inputs] == ["x", "camera", "goal"]
    codes = {e.name: (e.lo, e.hi, [op.kind for op in e.host]) for e in program.inputs}
    assert codes == {"x": (-128, 127, []), "camera": (0, 255, ["affine"]), "goal": (0, 255, [])}
    assert manifest["model"]["inputs"] == [
        {"name": "x", "shape": [5], "dtype": "float32"}, {"name": "camera", "shape": [3, 6, 6], "dtype": "uint8"},
        {"name": "goal", "shape": [2], "dtype": "float32"}]  # fmt: skip
    assert [manifest["model"][key] for key in ("input", "shape", "dtype")] == [None, None, None]
    rows = document(out / "report.json")["layers"]
    assert [r["name"] for r in rows if r["kind"] == "input"] == ["x", "s", "goal"]
    assert document(out / "report.json")["totals"]["populations"] == len(rows) - 3
    x, _ = build_folder.load_golden(out)
    assert {k: v.shape[1:] for k, v in x.items()} == {"x": (5,), "camera": (3, 6, 6), "goal": (2,)}


def test_a_target_that_takes_one_tensor_refuses_and_the_others_are_built(fusion, tmp_path):
    done = sfnc(fusion, "--calib", tmp_path / "data.npz", "--target", "nir,sim,lava", "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert (
        "takes one input and one tensor runs through its readers; this network has 'x', 'camera', 'goal'" in done.stderr
    )
    assert (tmp_path / "out" / "lava" / "manifest.json").is_file()
    assert not (tmp_path / "out" / "nir").exists()


def test_generated_inputs_are_made_for_every_input(fusion, tmp_path):
    done = succeeds(fusion, "-o", tmp_path / "out")
    assert "SFN308" in done.stderr
    succeeds("verify", tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "change", "words"),
    [("SFN302", {"goal": None}, "no array named 'goal' (arrays there: 'x', 'camera')"),
     ("SFN302", {"x": None, "observation": noise(8, 5)}, "no array named 'x'"),
     ("SFN303", {"goal": noise(7, 2)}, "different numbers of samples: 8 of 'x', 8 of 'camera', 7 of 'goal'"),
     ("SFN303", {"camera": noise(8, 6, 6, 3)}, "its samples have shape (6, 6, 3), the model takes (3, 6, 6)"),
     ("SFN304", {"camera": noise(8, 3, 6, 6)}, "its type is float32, the model takes uint8"),
     ("SFN305", {"goal": np.full((8, 2), np.nan)}, "8 of 8 samples hold NaN")],
)  # fmt: skip
def test_data_that_does_not_fit_every_input_is_refused(fusion, code, change, words, tmp_path):
    arrays = {k: v for k, v in {**readings(8), **change}.items() if v is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    assert words in refused(code, 3, fusion, "--calib", tmp_path / "bad.npz", "-o", tmp_path / "out")


def test_an_array_alone_is_no_data_for_several_inputs(fusion, tmp_path):
    np.save(tmp_path / "x.npy", noise(8, 5))
    refused("SFN302", 3, fusion, "--calib", tmp_path / "x.npy", "-o", tmp_path / "out")


def test_labels_are_compared_with_the_class_that_argmax_answers(tmp_path):
    # With an offset: without one, samples of nothing but negative numbers have four equal scores and no right class.
    model = tiny("f = Flatten(x) r = Relu(f) s = Gemm(r, k, c) y = ArgMax<axis=-1, keepdims=0>(s)", x=(2, 3),
                 k=noise(6, 4), c=noise(4, seed=1), result="int64")  # fmt: skip
    path, x = saved(model, tmp_path), noise(200, 2, 3)
    labels = FloatReference(path, ["x"], None).run(x)["y"]
    labels[::4] += 1
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    succeeds(path, "--calib", tmp_path / "d.npz", "-o", tmp_path / "out", "--levels", 255)
    succeeds("eval", tmp_path / "out", "--data", tmp_path / "d.npz")
    found = document(tmp_path / "out" / "eval.json")
    assert found["accuracy"]["float_top1"] == 0.75
    assert found["accuracy"]["agreement"] == found["outputs"]["y"]["agreement"] > 0.95


def test_labels_for_a_map_of_classes_are_refused(tmp_path):
    model = tiny("c = Conv(x, w) y = ArgMax<axis=1>(c)", w=noise(4, 3, 3, 3), result="int64")
    np.savez(tmp_path / "d.npz", x=noise(8, 3, 6, 6), labels=np.zeros(8, int))
    succeeds(saved(model, tmp_path), "--calib", tmp_path / "d.npz", "-o", tmp_path / "out")
    said = refused("SFN307", 3, "eval", tmp_path / "out", "--data", tmp_path / "d.npz")
    assert "output 'y' holds whole numbers, (4, 4) of them per sample; the labels are no classes" in said


OUTPUTS = {
    "in the middle": ("a = Conv(x, w) r = Relu(a) c = Conv(r, u) s = Relu(c) y = Conv(s, v)", ("y", "c", "a")),
    "of codes that are read on": ("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", ("r", "y")),
    "twice the same": ("a = Conv(x, w) y = Relu(a) z = Identity(y) q = Identity(y)", ("y", "z", "q")),
    "of codes and of their maximum": ("a = Conv(x, w) r = Relu(a) y = MaxPool<kernel_shape=[2,2]>(r)", ("r", "y")),
    "of a sum that is fired twice": ("a = Conv(x, w) r = Relu(a) t = Tanh(a) y = Add(r, t)", ("a", "y")),
    "of scores and their softmax": ("a = Conv(x, w) y = Softmax<axis=1>(a)", ("y", "a")),
}  # fmt: skip


@pytest.mark.parametrize("case", list(OUTPUTS))
def test_outputs_may_stand_anywhere(case, tmp_path):
    body, names = OUTPUTS[case]
    model = tiny(body, x=(3, 8, 8), outputs=names, w=noise(4, 3, 3, 3), u=noise(4, 4, 3, 3), v=noise(4, 4, 3, 3))
    path, x = saved(model, tmp_path), noise(64, 3, 8, 8, seed=4)
    np.savez(tmp_path / "d.npz", x=x)
    done = sfnc(path, "--calib", tmp_path / "d.npz", "--target", "sim,lava", "-o", tmp_path / "out", "--levels", 255)
    assert done.exit_code == 0, done.output
    succeeds("verify", tmp_path / "out", "--on", "sim")
    succeeds("run", tmp_path / "out", "--input", tmp_path / "d.npz", "-o", tmp_path / "y.npz")
    got, want = answers(tmp_path / "y.npz"), FloatReference(path, ["x"], None).run(x)
    assert sorted(got) == sorted(names)
    for name in names:
        noise_to_signal = ((got[name] - want[name]) ** 2).sum() / (want[name] ** 2).sum()
        assert noise_to_signal < 1e-3, name  # 30 dB at 255 levels


def test_weights_written_anew_in_their_old_place_leave_the_build_as_it_was(tmp_path):
    model = tiny("f = Flatten(x) y = Gemm(f, k)", x=(2, 3), k=noise(6, 4))
    path = tmp_path / "model.onnx"
    (tmp_path / "data").mkdir()
    onnx.save_model(model, str(path), save_as_external_data=True, location="data/weights.bin", size_threshold=0)
    np.savez(tmp_path / "d.npz", x=noise(64, 2, 3))
    succeeds(path, "--calib", tmp_path / "d.npz", "-o", tmp_path / "out")
    with (tmp_path / "data" / "weights.bin").open("r+b") as file:
        file.write(bytes(6 * 4 * 4))
    succeeds("eval", tmp_path / "out", "--data", tmp_path / "d.npz")
    assert document(tmp_path / "out" / "eval.json")["outputs"]["y"]["sqnr_db"] > 25
    succeeds("verify", tmp_path / "out")
    assert document(tmp_path / "out" / "proof.json")["files_changed"] == []


def test_a_float16_network_answers_in_float16(tmp_path):
    half = {"w": noise(4, 3, 3, 3).astype(np.float16), "k": noise(64, 3).astype(np.float16)}
    model = tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)", dtype="float16", result="float16", **half)
    x = noise(64, 3, 6, 6)
    np.savez(tmp_path / "d.npz", x=x)
    succeeds(saved(model, tmp_path), "--calib", tmp_path / "d.npz", "-o", tmp_path / "out", "--levels", 255)
    succeeds("run", tmp_path / "out", "--input", tmp_path / "d.npz", "-o", tmp_path / "y.npz")
    assert answers(tmp_path / "y.npz")["y"].dtype == np.float16
    succeeds("eval", tmp_path / "out", "--data", tmp_path / "d.npz")
    assert document(tmp_path / "out" / "eval.json")["outputs"]["y"]["sqnr_db"] > 30
