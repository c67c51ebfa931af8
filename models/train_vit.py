"""Train a small vision transformer on Fashion-MNIST and write it as ONNX.

    pip install torch onnx onnxscript onnxruntime
    python models/train_vit.py fashion_mnist.npz

writes, beside this file, ``fashion_vit.onnx`` (input ``image`` (batch, 1, 28, 28) float32 with pixels 0..1, output
``logits`` (batch, 10)). The data file holds ``x_train`` uint8 (n, 28, 28), ``y_train`` (n,), ``x_test`` and ``y_test``;
it is only read, and nothing of it but the trained weights is written.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule
from torch import Tensor, nn
from train_digits import name_after_modules

SEED = 0
DIM = 64
HEADS = 4
BLOCKS = 4
MLP_RATIO = 2
PATCH = 4
EPOCHS = 100
BATCH = 100
RATE = 2e-3
OPSET = 20  # the first with a Gelu operator


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        """Make ``heads`` heads of ``dim / heads`` features."""
        super().__init__()
        self.heads, self.features = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``, (batch, tokens, dim)."""
        tokens = x.shape[1]
        qkv = self.qkv(x).reshape(-1, tokens, 3, self.heads, self.features).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = query @ key.transpose(-2, -1) * self.features**-0.5
        mixed = scores.softmax(dim=-1) @ value
        tokens_out: Tensor = self.out(mixed.transpose(1, 2).reshape(-1, tokens, self.heads * self.features))
        return tokens_out


class Block(nn.Module):
    """A pre-norm block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        """Make a block on ``dim`` features with ``hidden`` features in the MLP."""
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.up, self.down = nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``, (batch, tokens, dim)."""
        x = x + self.attention(self.norm1(x))
        added: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return added


class FashionViT(nn.Module):
    """Patches, a class token, learned positions, pre-norm blocks, and a linear head on the class token."""

    def __init__(self, dim: int = DIM, heads: int = HEADS, blocks: int = BLOCKS) -> None:
        """Make a network of ``blocks`` blocks; patches overlap (8x8 pixels every 4)."""
        super().__init__()
        side = 28 // PATCH
        self.patches = nn.Conv2d(1, dim, 2 * PATCH, stride=PATCH, padding=PATCH // 2)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(1, side * side + 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, MLP_RATIO * dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, 10) of images (batch, 1, 28, 28) with pixels 0..1."""
        patches = self.patches(image).flatten(2).transpose(1, 2)
        first = self.class_token.expand(image.shape[0], -1, -1)
        x = torch.cat([first, patches], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x)[:, 0])
        return logits


def changed(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch with every image mirrored or not and moved by up to one pixel, zeros at the border."""
    n, size = len(image), image.shape[-1]
    mirror = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    wide = nn.functional.pad(torch.where(mirror, image.flip(-1), image), (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, n, 1), generator=generator) + torch.arange(size)
    return wide[torch.arange(n)[:, None, None], 0, down[:, :, None], right[:, None, :]][:, None]


def train(images: NDArray[np.float32], labels: NDArray[np.uint8], epochs: int) -> FashionViT:
    """Return the network trained with AdamW, a warm-up and a cosine schedule, in evaluation mode."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    net = FashionViT().train()
    steps = epochs * -(-len(x) // BATCH)
    adam = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=RATE, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        started, losses, right = time.monotonic(), [], 0
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            logits = net(changed(x[rows], generator))
            loss = nn.functional.cross_entropy(logits, y[rows], label_smoothing=0.1)
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
            schedule.step()
            losses.append(loss.item())
            right += int((logits.argmax(1) == y[rows]).sum())
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {right / len(x):.2%}, {seconds:.0f} s", flush=True)
    return net.eval()


def export(net: FashionViT, path: Path) -> None:
    """Write one ONNX file with the weights inside, LayerNormalization and Gelu kept, and no trace of this machine."""
    batch = torch.export.Dim("batch", min=1, max=2**16)
    exported = torch.onnx.export(
        net, (torch.zeros(2, 1, 28, 28),), input_names=["image"], output_names=["logits"], opset_version=OPSET,
        dynamic_shapes=({0: batch},), dynamo=True, optimize=False, verbose=False,
    )  # fmt: skip
    assert exported is not None
    optimizer.fold_constants(exported.model)
    rewriter.rewrite(exported.model, [materialize_reshape_shape_rule])  # reshapes without computing the batch size
    model = exported.model_proto
    name_after_modules(model.graph)
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer,
                   *model.graph.input, *model.graph.output):  # fmt: skip
        del holder.metadata_props[:]  # the exporter writes stack traces with file names here
    model.graph.name = "fashion_vit"
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(dict(Counter(node.op_type for node in model.graph.node)))


def accuracy(path: Path, images: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Return the share of right answers of the ONNX file in onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"image": images[at : at + 500]})[0] for at in range(0, len(images), 500)]
    return float((np.concatenate(parts).argmax(axis=1) == labels).mean())


def main() -> None:
    """Train, export and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    with np.load(given.data) as data:
        train_images, test_images = (data[name][:, None].astype(np.float32) / 255 for name in ("x_train", "x_test"))
        train_labels, test_labels = data["y_train"], data["y_test"]
    net = train(train_images, train_labels, given.epochs)
    path = given.out / "fashion_vit.onnx"
    export(net, path)
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {path.stat().st_size} bytes")
    for name, images, labels in (("training", train_images, train_labels), ("test", test_images, test_labels)):
        print(f"{name}: {accuracy(path, images, labels):.2%} of {len(labels)} in onnxruntime")


if __name__ == "__main__":
    main()
