"""Networks of other people: compiled whole, close to the float network, equal on every target, or refused well."""

from __future__ import annotations

import numpy as np
import pytest
from sfn_backends.onnx import OnnxBackend

from sfn_compile.commands.build import build
from sfn_compile.commands.evaluate import compare, evaluate
from sfn_compile.commands.verify import verify
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets import backend
from sfn_compile.targets.backend import RunRequest

from . import corpus_data

pytestmark = pytest.mark.skipif(not corpus_data.present(), reason=corpus_data.MISSING)

# Test images of the quick check here; `make results` measures the whole split. With n images the drop has a standard
# error of about sqrt(disagreement / n): 1.1 points at 3 % and 250 images, so three of those are allowed on top of
# the 0.8 points of the promise.
QUICK = 250
ALLOWED = 0.8 + 3 * 1.1


@pytest.mark.parametrize("name", corpus_data.PROMISED)
def test_a_real_network_stays_close_to_its_float_model(name, tmp_path):
    data = corpus_data.write_npz(tmp_path / "c.npz", name, "train", 512, 0)
    done = compile_model(corpus_data.model_path(name), Options(samples=128), data)
    x, y = corpus_data.samples(name, "test")
    reference = FloatReference(corpus_data.model_path(name), done.loaded.input_names, done.loaded.batch)
    found = compare(done.program, reference, x[:QUICK], y[:QUICK])["accuracy"]
    assert 100 * (found["float_top1"] - found["snn_top1"]) <= ALLOWED
    assert found["agreement"] >= 0.9


@pytest.mark.parametrize("name", ["mnist8_cntk", "mnist_mlp_256x2", "cifar_small_nhwc", "fashion_mlp_dynamo_op20"])
def test_a_real_network_is_proved_equal_on_every_target(name, tmp_path):
    for target in ("nir", "lava"):
        if (why := backend.load(target).available()) is not None:
            pytest.skip(f"target {target}: {why}")
    data = corpus_data.write_npz(tmp_path / "c.npz", name, "train", 128, 0)
    built = build(corpus_data.model_path(name), tmp_path / "out", Options(targets=("sim", "nir", "lava")), data)
    assert not built.refusals
    coverage = built.report["coverage"]
    assert coverage["mapped"] == coverage["nodes"]
    document = verify(tmp_path / "out", samples=2).document
    for target in ("sim", "nir", "lava"):
        entry = document["targets"][target]
        assert entry["different"] == 0, entry
        assert entry["compared"] > 0, entry


def test_resnet20_is_proved_equal_on_sim_and_in_lava(tmp_path):
    if (why := backend.load("lava").available()) is not None:
        pytest.skip(why)
    data = corpus_data.write_npz(tmp_path / "c.npz", "cifar_resnet20_op13", "train", 128, 0)
    build(corpus_data.model_path("cifar_resnet20_op13"), tmp_path / "out", Options(targets=("sim", "lava")), data)
    document = verify(tmp_path / "out", samples=1).document
    assert {k: v["different"] for k, v in document["targets"].items()} == {"sim": 0, "lava": 0}
    assert document["targets"]["lava"]["compared"] > 188_000


def test_a_vision_transformer_stays_close_to_its_float_model_at_31_levels_everywhere(tmp_path):
    """With 31 levels at the attention sites too.

    Where the tolerance comes from: on 5,000 images the drop is 0.3 points in the mean of three seeds, with a standard
    error of 0.4 (of images that only one of both networks gets right). On 2,000 images that is 0.6, and 1.5 points are
    two of those above the mean.
    """
    data = corpus_data.write_npz(tmp_path / "c.npz", "cifar_vit_ibp", "train", 512, 0)
    done = compile_model(corpus_data.model_path("cifar_vit_ibp"), Options(attention_levels=31), data)
    rows = {type(s.ladder).__name__ for s in done.program.populations()}
    assert rows >= {"RowTable", "Ratio"}  # it has batch norms where others have layer norms
    x, y = corpus_data.samples("cifar_vit_ibp", "test")
    reference = FloatReference(corpus_data.model_path("cifar_vit_ibp"), done.loaded.input_names, done.loaded.batch)
    found = compare(done.program, reference, x[:2000], y[:2000])["accuracy"]
    assert 100 * (found["float_top1"] - found["snn_top1"]) <= 1.5
    assert found["agreement"] >= 0.8


# Between them their layers take all formulations of the target onnx: byte kernels with skips, depthwise ones, tables
# that a quantised model brings along.
@pytest.mark.parametrize("name", ["cifar_resnet20_op13", "cifar_resnet8_mlperf_qdq", "imagenet_mobilenet_v1_025_128"])
def test_onnxruntime_computes_every_layer_of_a_real_network_bit_for_bit(name, tmp_path):
    data = corpus_data.write_npz(tmp_path / "c.npz", name, "train", 64, 0)
    done = compile_model(corpus_data.model_path(name), Options(), data)
    OnnxBackend().emit(done.program, tmp_path, {})
    assert program_files.digest(OnnxBackend().reload(tmp_path)) == program_files.digest(done.program)
    x, _ = corpus_data.samples(name, "test")
    codes = encode_all(done.program, {e.name: x[:4] for e in done.program.inputs})
    golden = run_codes(done.program, codes)
    found = OnnxBackend().run(tmp_path, RunRequest(codes, golden))
    assert [v for v in golden if not np.array_equal(found.values[v], golden[v])] == []
    assert found.readers[0]["different"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refuse_silero_vad_if", ("If", "LSTM")),
        ("refuse_dtln_lstm", ("LSTM",)),
    ],
)
def test_a_network_out_of_reach_is_refused_with_its_operators_named(name, words):
    with pytest.raises(CompileError) as caught:
        compile_model(corpus_data.model_path(name), Options(samples=4))
    assert caught.value.exit_code == 3
    for word in words:
        assert word in str(caught.value)


def test_two_exports_of_one_network_compute_nearly_the_same(tmp_path):
    data = corpus_data.write_npz(tmp_path / "c.npz", "cifar_resnet20_op13", "train", 64, 0)
    x, _ = corpus_data.samples("cifar_resnet20_op13", "test")
    tops = []
    for name in ("cifar_resnet20_op13", "cifar_resnet20_dynamo_op20"):
        done = compile_model(corpus_data.model_path(name), Options(), data)
        reference = FloatReference(corpus_data.model_path(name), done.loaded.input_names, done.loaded.batch)
        tops.append(compare(done.program, reference, x[:64])["outputs"]["logits"]["agreement"])
    assert np.abs(np.diff(tops)).max() <= 4 / 64


def test_a_face_detector_is_compiled_whole_with_its_box_arithmetic_on_the_host(tmp_path):
    """Its boxes and scores on photos (of CIFAR, enlarged) stay those of onnxruntime."""
    with np.load(corpus_data.ROOT / "data" / "cifar10.npz") as data:
        photos = data["x_train"][:20].astype(np.float32)
    large = np.repeat(np.repeat(photos, 8, axis=1)[:, :240], 10, axis=2)
    np.savez(tmp_path / "d.npz", x=((large - 127) / 128).transpose(0, 3, 1, 2))
    path = corpus_data.model_path("ultraface_rfb_320")
    built = build(path, tmp_path / "out", Options(levels=63, samples=12), tmp_path / "d.npz")
    assert built.report["coverage"] == {"nodes": 242, "mapped": 215, "host": 27}
    assert "472 (Exp)" in built.report["host_tail"]["nodes"]
    found = evaluate(tmp_path / "out", tmp_path / "d.npz")["outputs"]
    assert found["boxes"]["sqnr_db"] > 9  # about the mean of each element: most of a box is its anchor
    assert found["scores"]["sqnr_db"] > 9  # and most of a score the background
