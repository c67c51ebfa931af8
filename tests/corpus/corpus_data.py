"""Real models and data outside the repository: where they are, and how each model wants its data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(os.environ.get("SFNC_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
MISSING = f"the corpus of real models is not at {ROOT.name}/ (set SFNC_CORPUS to its folder)"

# The networks of the accuracy promise: name -> what is special about them.
PROMISED = {
    "mnist8_cntk": "CNTK export, opset 8, auto_pad",
    "mnist_conv_bn_op16": "batch norm left in, LogSoftmax",
    "mnist_mlp_256x2": "initializers listed as inputs",
    "fashion_mlp_dynamo_op20": "torch dynamo exporter",
    "cifar_resnet20_op13": "pad shortcuts, shape arithmetic",
    "cifar_resnet20_dynamo_op20": "the same by the dynamo exporter",
    "cifar_resnet32_unfolded_op11": "not constant-folded",
    "cifar_resnet8_mlperf": "tf2onnx, NHWC",
    "cifar_resnet_4b": "residual network, fixed batch",
    "cifar_small_nhwc": "tf2onnx, Transpose pairs",
}

# Networks that bring their own integers: onnxruntime's run of the quantised network is their reference.
QUANTISED = {
    "mnist_tfc_2w2a_qonnx": "QONNX of Brevitas, 2 bits",
    "cifar_resnet8_mlperf_qdq": "int8 QDQ, per channel",
    "imagenet_mobilenet_v1_025_128_qdq": "uint8 QDQ, weights with zero points",
    "imagenet_mobilenet_v2_100_224_qdq": "inverted residuals",
}
# Float networks from 8-bit files that end in Softmax to uint8, where classes tie: compared before the Softmax.
MOBILENETS = ("imagenet_mobilenet_v1_025_128", "imagenet_mobilenet_v1_050_160")


# Attention at one timestep; the second is this repository's own, trained on data of the corpus.
TRANSFORMERS = ("cifar_vit_ibp", "fashion_vit")
OWN = Path(__file__).resolve().parents[2] / "models"


def present() -> bool:
    """Return whether the corpus is there."""
    return (ROOT / "manifest.json").is_file()


def model_path(name: str) -> Path:
    """Return the ONNX file of a model."""
    return OWN / f"{name}.onnx" if name == "fashion_vit" else ROOT / "models" / f"{name}.onnx"


def facts(name: str) -> dict[str, Any]:
    """Return the manifest's entry of a model."""
    if name == "fashion_vit":
        plain = {"dtype": "float32", "scale": 1 / 255, "mean": 0.0, "std": 1.0, "layout": "NCHW"}
        return {"data": "fashion_mnist", "preprocess": plain, "inputs": [["image", ["batch", 1, 28, 28]]]}
    manifest = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = manifest.get("models", manifest)[name]
    return found


def samples(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs as the model takes them, labels) of ``train`` or ``test``."""
    entry = facts(name)
    how = entry["preprocess"]
    if entry["data"] == "imagenet_even":
        return photos(entry, split)
    with np.load(ROOT / "data" / f"{entry['data']}.npz") as data:
        x, y = data[f"x_{split}"], data[f"y_{split}"]
    x = x.astype(np.float64) + how.get("offset", 0)
    if how["dtype"] != "float32":
        return x.astype(how["dtype"]), y
    x = x[..., None] if x.ndim == 3 else x
    x = (x * how["scale"] - np.array(how["mean"])) / np.array(how["std"])
    x = x.transpose(0, 3, 1, 2) if how["layout"] == "NCHW" else x
    x = x.reshape(len(x), *how["shape"]) if how.get("shape") else x
    return x.astype(np.float32), y


def photos(entry: dict[str, Any], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return photos of even classes: every fourth to calibrate on, the others to measure on, as the corpus asks."""
    from PIL import Image

    files = sorted((ROOT / "data" / "imagenet_even").glob("*.jpg"))
    chosen = [f for i, f in enumerate(files) if (i % 4 == 0) == (split == "train")]
    size = next(d for d in entry["inputs"][0][1][1:] if isinstance(d, int) and d > 3)
    x = np.stack([_central(Image.open(f).convert("RGB"), size) for f in chosen])
    return x, np.array([int(f.stem) + 1 for f in chosen])  # these networks have a background class


def _central(image: Any, size: int) -> np.ndarray:
    """Return the central 87.5 % of both sides, resized bilinearly to ``(size, size, 3)``."""
    left, top = int(image.width / 16), int(image.height / 16)
    cut = image.crop((left, top, image.width - left, image.height - top))
    return np.asarray(cut.resize((size, size), 2))


def crops(name: str, n: int, start: int = 0) -> np.ndarray:
    """Return photos as an image-to-image or detection network wants them: luminance in 0..1, or RGB around 0."""
    from PIL import Image

    _, channels, height, width = facts(name)["inputs"][0][1]
    files = sorted((ROOT / "data" / "imagenet_even").glob("*.jpg"))[start : start + n]
    images = [Image.open(f).convert("L" if channels == 1 else "RGB").resize((width, height), 2) for f in files]
    x = np.stack([np.asarray(i, np.float32).reshape(height, width, channels) for i in images]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x / 255 if channels == 1 else (x - 127) / 128)


def write_npz(path: Path, name: str, split: str, n: int, seed: int) -> Path:
    """Write ``n`` samples of a split, chosen by ``seed``, as DATA of the command line."""
    x, y = samples(name, split)
    chosen = np.sort(np.random.default_rng(seed).choice(len(x), min(n, len(x)), replace=False))
    np.savez(path, x=x[chosen], labels=y[chosen])
    return path
