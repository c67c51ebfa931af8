"""Train the demo network on scikit-learn's handwritten digits and write it as ONNX, with its data.

    pip install torch onnx onnxscript onnxruntime scikit-learn
    python models/train_digits.py

writes, beside this file, ``digits.onnx`` (input ``image`` (batch, 1, 8, 8) float32 with pixels 0..16, output ``logits``
(batch, 10)), ``digits_calib.npz`` (the training images) and ``digits_test.npz`` (the held-out third).
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

SEED = 0
CHANNELS = 16
EPOCHS = 60
BATCH = 64
OPSET = 18


def conv_bn(c_in: int, c_out: int) -> nn.Sequential:
    """Return a 3x3 convolution that keeps height and width, with batch normalisation."""
    conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(c_out)))


class Residual(nn.Module):
    """``relu(x + second(relu(first(x))))``: two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        """Make a block that keeps ``channels``, height and width."""
        super().__init__()
        self.first = conv_bn(channels, channels)
        self.second = conv_bn(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of the shape of ``x``."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class DigitsNet(nn.Module):
    """Conv, residual, max pooling, residual, average pooling, linear; pixels 0..16 are scaled inside."""

    def __init__(self, channels: int = CHANNELS) -> None:
        """Make a network with ``channels`` in every hidden layer."""
        super().__init__()
        self.stem = conv_bn(1, channels)
        self.block1 = Residual(channels)
        self.block2 = Residual(channels)
        self.head = nn.Linear(4 * channels, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, 10) of images (batch, 1, 8, 8) with pixels 0..16."""
        x = self.block1(torch.relu(self.stem(image / 16.0)))
        x = self.block2(nn.functional.max_pool2d(x, 2))
        logits: Tensor = self.head(nn.functional.avg_pool2d(x, 2).flatten(1))
        return logits


def split() -> list[NDArray[np.uint8]]:
    """Return (training images, held-out images, training labels, held-out labels); a third is held out."""
    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.uint8), digits.target.astype(np.uint8)
    parts: list[NDArray[np.uint8]] = train_test_split(
        images, labels, test_size=1 / 3, stratify=labels, random_state=SEED
    )
    return parts


def shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch moved by up to one pixel in each direction, the same for all, zeros at the border."""
    down, right = (int(v) for v in torch.randint(-1, 2, (2,), generator=generator))
    wide = nn.functional.pad(image, (1, 1, 1, 1))
    return wide[:, :, 1 - down : 9 - down, 1 - right : 9 - right]


def train(images: NDArray[np.uint8], labels: NDArray[np.uint8], epochs: int = EPOCHS) -> DigitsNet:
    """Return the network trained with AdamW and a one-cycle learning rate, in evaluation mode."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.from_numpy(images).float(), torch.from_numpy(labels).long()
    net = DigitsNet()
    steps = epochs * -(-len(x) // BATCH)
    adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=1e-2, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(net(shifted(x[rows], generator)), y[rows], label_smoothing=0.05)
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    return net.eval()


def export(net: DigitsNet, path: Path) -> None:
    """Write one ONNX file with the weights inside, batch normalisation kept, and no trace of this machine."""
    batch = torch.export.Dim("batch", min=1, max=2**16)
    exported = torch.onnx.export(
        net, (torch.zeros(2, 1, 8, 8),), input_names=["image"], output_names=["logits"], opset_version=OPSET,
        dynamic_shapes=({0: batch},), dynamo=True, optimize=False, verbose=False,
    )  # fmt: skip
    assert exported is not None
    optimizer.fold_constants(exported.model)  # and no more: the full optimisation folds batch normalisation away
    rewriter.rewrite(exported.model, [materialize_reshape_shape_rule])  # flatten without computing the batch size
    model = exported.model_proto
    name_after_modules(model.graph)
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer,
                   *model.graph.input, *model.graph.output):  # fmt: skip
        del holder.metadata_props[:]  # the exporter writes stack traces with file names here
    model.graph.name = "digits"
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def name_after_modules(graph: onnx.GraphProto) -> None:
    """Name every node after the torch module it comes from, as in ``block1.first.conv/Conv``, each name once."""
    seen: Counter[str] = Counter()
    for node in graph.node:
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = [s for s in ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))[:-1] if s]
        name = "/".join([*scopes[-1:], node.op_type])
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def accuracy(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Return the share of right answers of the ONNX file in onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images.astype(np.float32)})
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    """Train, export, write the data and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    folder: Path = parser.parse_args().out
    train_images, test_images, train_labels, test_labels = split()
    np.savez_compressed(folder / "digits_calib.npz", image=train_images, labels=train_labels)
    np.savez_compressed(folder / "digits_test.npz", image=test_images, labels=test_labels)
    net = train(train_images, train_labels)
    export(net, folder / "digits.onnx")
    print(f"{sum(p.numel() for p in net.parameters())} parameters")
    for name, images, labels in (("training", train_images, train_labels), ("held-out", test_images, test_labels)):
        print(f"{name}: {accuracy(folder / 'digits.onnx', images, labels):.2%} of {len(labels)} in onnxruntime")


if __name__ == "__main__":
    main()
