"""What ``replay.py`` compiles: networks, their samples and the options of each case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..corpus import corpus_data

MODELS = Path(__file__).resolve().parents[2] / "models"
ALL = "sim,nir,lava,onnx"
DIGITS = {
    "default": "",
    "7-levels": "--levels 7",
    "second-digits": "--levels 7 --no-reconstruct --fine-share 0 --digit-share 1",
    "4-bits-equalized": "--levels 15 --weight-bits 4 --equalize",
    "minmax": "--method minmax",
    "percentile": "--method percentile",
    "kl": "--method kl",
    "sfn": "--method sfn --levels 15 --no-reconstruct",
    "sfn-lloyd-max": "--method sfn --method-option ladder=lloyd-max --levels 15 --no-reconstruct",
    "sfn-equal-mass": "--method sfn --method-option ladder=equal-mass --levels 15 --no-reconstruct",
    "pmsm": "--method pmsm",
    "opi": "--method opi",
    "qcfs": "--method qcfs",
    "pow2": "--threshold pow2",
    "tensor": "--granularity tensor",
    "one-site": "--site relu_2:levels=15,weight-bits=6 --seed 1 --samples 200",
    "nir-sar": "--nir-form sar",
    "nir-unary": "--nir-form unary --levels 7 --no-reconstruct",
}
VIT = {"default": "", "fired": "--attention fired --attention-levels 31", "no-carry": "--no-carry"}
# Targets beside sim and onnx that a network of the corpus is written for: those that take seconds.
MORE_TARGETS = {
    "mnist8_cntk": "nir,lava",
    "mnist_tfc_2w2a_qonnx": "nir,lava",
    "fashion_mlp_dynamo_op20": "nir,lava",
    "mnist_mlp_256x2": "lava",
    "cifar_small_nhwc": "nir,lava",
    "cifar_resnet8_mlperf": "lava",
    "cifar_resnet8_mlperf_qdq": "lava",
    "cifar_resnet20_op13": "lava",
    "cifar_vit_ibp": "lava",
    "go1_policy": "nir,lava",
}
# Fewer samples than 32 where a network or its input is large.
SAMPLES = {
    "fashion_vit": 16,
    "cifar_vit_ibp": 16,
    "super_resolution": 4,
    "ultraface_rfb_320": 4,
    "imagenet_mobilenet_v1_025_128": 8,
    "imagenet_mobilenet_v1_025_128_qdq": 4,
    "imagenet_mobilenet_v1_050_160": 4,
    "imagenet_mobilenet_v2_100_224_qdq": 2,
}
CORPUS = (
    *corpus_data.PROMISED, *corpus_data.QUANTISED, *corpus_data.MOBILENETS, "cifar_vit_ibp", "super_resolution",
    "ultraface_rfb_320", "go1_policy", "refuse_silero_vad_if", "refuse_dtln_lstm",
)  # fmt: skip
QUICK = (
    "digits/default", "digits/7-levels", "digits/second-digits", "digits/sfn-lloyd-max",
    "fashion_vit/default", "corpus/mnist8_cntk", "corpus/cifar_resnet8_mlperf_qdq",
    "corpus/refuse_dtln_lstm",
)  # fmt: skip
SPEED = ("cifar_resnet20_op13", "imagenet_mobilenet_v1_025_128")


@dataclass(frozen=True)
class Case:
    """One compilation. ``write`` makes the samples' ``.npz`` at a path; ``options`` are those of the command line.

    Without ``write`` the network gets no samples: it is refused before they are read.
    """

    name: str
    model: Path
    write: Callable[[Path], None] | None
    options: str
    targets: str


def cases() -> list[Case]:
    """Return every case; those of the corpus only where it is present."""
    digits = [
        Case(f"digits/{name}", MODELS / "digits.onnx", _shipped, options, ALL) for name, options in DIGITS.items()
    ]
    vit = [
        Case(f"fashion_vit/{name}", MODELS / "fashion_vit.onnx", _noise, options, "sim,onnx,lava")
        for name, options in VIT.items()
    ]
    return digits + vit + ([of_corpus(name) for name in CORPUS] if corpus_data.present() else [])


def of_corpus(name: str) -> Case:
    """Return the case of a network of the corpus, with the default options."""
    more = MORE_TARGETS.get(name)
    targets = f"sim,onnx,{more}" if more else "sim,onnx"
    write = None if name.startswith("refuse_") else partial(_corpus_samples, name)
    return Case(f"corpus/{name}", corpus_data.model_path(name), write, "", targets)


def _shipped(path: Path) -> None:
    """Write the samples that come with the digits."""
    path.write_bytes((MODELS / "digits_calib.npz").read_bytes())


def _noise(path: Path) -> None:
    """Write random images for the vision transformer, so that it needs no data set."""
    np.savez(path, x=np.random.default_rng(0).random((SAMPLES["fashion_vit"], 1, 28, 28), np.float32))


def _corpus_samples(name: str, path: Path) -> None:
    """Write training samples, photos where a network has no data set, or normal numbers for a vector."""
    n = SAMPLES.get(name, 32)
    if corpus_data.facts(name).get("data"):
        corpus_data.write_npz(path, name, "train", n, 0)
        return
    shape = corpus_data.facts(name)["inputs"][0][1][1:]
    if len(shape) == 3:
        np.savez(path, x=corpus_data.crops(name, n))
        return
    sides = [side if isinstance(side, int) else 1 for side in shape]
    np.savez(path, x=np.random.default_rng(0).standard_normal((n, *sides)).astype(np.float32))
