"""Networks that people trained, on a chip: cores that were counted by hand beforehand, in seconds."""

from __future__ import annotations

import time

import pytest

from tests.commands.cli_helpers import document, sfnc, succeeds

from . import corpus_data

pytestmark = pytest.mark.skipif(not corpus_data.present(), reason=corpus_data.MISSING)
SECONDS = 5.0  # of processor time


def fitted(name, out, *options):
    """The document of a build of a few samples, and the seconds that fit took."""
    if not out.exists():
        calib = corpus_data.write_npz(out.with_suffix(".npz"), name, "train", 16, 0)
        succeeds("compile", corpus_data.model_path(name), "--calib", calib, "--quiet", "-o", out)
    start = time.process_time()
    done = sfnc("fit", out, "--hardware", "loihi2", "--quiet", *options)
    return document(out / "fit.json"), time.process_time() - start, done.exit_code


def cores(found, split, words):
    return next(r["cores"] for r in found["cores"] if (r["split"], r["state_words"]) == (split, words))


def test_resnet20_takes_94_cores_or_186(tmp_path):
    found, seconds, status = fitted("cifar_resnet20_op13", tmp_path / "out")
    assert (status, found["fits"], found["host"]) == (0, True, [])
    assert (cores(found, "vendor", 1), cores(found, "vendor", 3)) == (94, 186)
    assert cores(found, "fewest", 1) <= 70
    steps = {name: e["step_us"][1] for name, e in found["estimates_of_plans"].items()}
    assert steps["balanced, 1 words"] < steps["vendor, 1 words"] / 2
    assert seconds < SECONDS


def test_mobilenet_takes_several_chips(tmp_path):
    found, seconds, status = fitted("imagenet_mobilenet_v1_050_160", tmp_path / "out")
    assert (status, found["fits"]) == (0, True)
    assert 300 < cores(found, "fewest", 1) < cores(found, "vendor", 1) < 600
    assert any(f["rule"] == "rows_never_printed" for f in found["findings"])  # depthwise
    assert seconds < SECONDS


def test_attention_is_refused_by_name_or_counted_as_host_work(tmp_path):
    found, _, status = fitted("cifar_vit_ibp", tmp_path / "out")
    assert status == 4
    assert {f["code"] for f in found["findings"] if f["severity"] == "error"} == {"SFN411"}
    found, seconds, status = fitted("cifar_vit_ibp", tmp_path / "out", "--host-work")
    assert status == 0
    assert len(found["host"]) == 6  # three products with softmax and three with the values
    assert seconds < SECONDS
