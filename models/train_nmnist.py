"""Train a small CNN on recordings of an event camera (N-MNIST) and write it as ONNX, with a few of the recordings.

    pip install torch onnx onnxscript onnxruntime scikit-learn
    python models/train_nmnist.py nmnist_train.npz

writes, beside this file, ``nmnist.onnx`` (input ``events`` (batch, 2, 34, 34) float32: how many events every pixel had,
off in channel 0 and on in channel 1; output ``logits`` (batch, 10)) and the folder ``nmnist`` with 40 recordings: 20 of
those it was trained on in ``calib.npz``, 20 of those kept aside in ``test.npz``. The data file holds one event an entry
(``x``, ``y``, ``polarity``, ``t_us``), those of recording i at ``offsets[i]:offsets[i + 1]``, and ``labels``; the two
files too, with the ``rows`` that their recordings had in it, and all ``rows_kept_aside``.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import materialize_reshape_shape_rule
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from train_digits import conv_bn, name_after_modules

Array = NDArray[Any]
SEED = 0
SIDE = 34  # pixels of the sensor, both ways
ASIDE = 200  # recordings that are not trained on
SLICES = 12  # of a recording, of equal duration: four of each of its three saccades
SHORTEST = 2  # slices that are trained on alone, so that there is an answer while a recording goes on
EPOCHS = 100
BATCH = 50
RATE = 5e-3
OPSET = 18
COMMITTED = 2  # recordings of every class in each of the two files


class EventNet(nn.Module):
    """Four convolutions, two of them with stride 2, average pooling, linear: no residual, no maximum."""

    def __init__(self) -> None:
        """Make a network of two polarities in and ten classes out."""
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 16, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(16))
        self.second = conv_bn(16, 32)
        self.third = nn.Sequential(nn.Conv2d(32, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48))
        self.fourth = conv_bn(48, 48)
        self.head = nn.Linear(48 * 9, 10)

    def forward(self, events: Tensor) -> Tensor:
        """Return logits (batch, 10) of counts of events (batch, 2, 34, 34)."""
        x = torch.relu(self.second(torch.relu(self.first(events / 8.0))))
        x = torch.relu(self.fourth(torch.relu(self.third(x))))
        x = nn.functional.avg_pool2d(x, 3)
        x = nn.functional.dropout(x.flatten(1), 0.3, self.training)
        logits: Tensor = self.head(x)
        return logits


def counts(recordings: Mapping[str, Array], rows: Array, slices: int) -> NDArray[np.float32]:
    """Return how many events every pixel had in each of ``slices`` equal parts of time, (n, slices, 2, 34, 34)."""
    found = np.zeros((len(rows), slices, 2, SIDE, SIDE), np.float32)
    for to, row in enumerate(rows):
        of = slice(*recordings["offsets"][row : row + 2])
        t = recordings["t_us"][of].astype(np.int64)
        part = (t - t[0]) * slices // (t[-1] - t[0] + 1)
        np.add.at(found[to], (part, *(recordings[name][of] for name in ("polarity", "y", "x"))), 1)
    return found


def changed(parts: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch of slices summed, half of them cut off in time, each turned, scaled, moved, sheared a little."""
    n = len(parts)
    length = torch.randint(SHORTEST, SLICES + 1, (n, 1), generator=generator)
    whole = torch.rand(n, 1, generator=generator) < 0.5
    taken = whole | (torch.arange(SLICES) < length)
    image = (parts * taken[:, :, None, None, None]).sum(1)
    turn, shear = (0.2 * torch.randn(n, 2, generator=generator)).T
    size = 1 + 0.1 * torch.randn(n, 2, generator=generator)
    maps = torch.zeros(n, 2, 3)
    maps[:, 0, 0], maps[:, 0, 1] = size[:, 0] * turn.cos(), shear - turn.sin()
    maps[:, 1, 0], maps[:, 1, 1] = turn.sin(), size[:, 1] * turn.cos()
    maps[:, :, 2] = (torch.rand(n, 2, generator=generator) - 0.5) * 8 / SIDE
    grid = nn.functional.affine_grid(maps, list(image.shape), align_corners=False)
    return nn.functional.grid_sample(image, grid, align_corners=False)


def train(parts: NDArray[np.float32], labels: Array, epochs: int) -> EventNet:
    """Return the network trained with AdamW and a one-cycle learning rate, in evaluation mode."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.from_numpy(parts), torch.from_numpy(labels).long()
    net = EventNet().train()
    steps = epochs * -(-len(x) // BATCH)
    adam = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=RATE, total_steps=steps, pct_start=0.2)
    started = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(net(changed(x[rows], generator)), y[rows], label_smoothing=0.1)
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return net.eval()


def export(net: EventNet, path: Path) -> None:
    """Write one ONNX file with the weights inside, batch normalisation kept, and no trace of this machine."""
    batch = torch.export.Dim("batch", min=1, max=2**16)
    exported = torch.onnx.export(
        net, (torch.zeros(2, 2, SIDE, SIDE),), input_names=["events"], output_names=["logits"], opset_version=OPSET,
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
    model.graph.name = "nmnist"
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(dict(Counter(node.op_type for node in model.graph.node)))


def save(recordings: Mapping[str, Array], rows: Array, path: Path, **more: Array) -> None:
    """Write some recordings in the form of the data file, and the rows that they have there."""
    pieces = [slice(*recordings["offsets"][row : row + 2]) for row in rows]
    events = {name: np.concatenate([recordings[name][of] for of in pieces]) for name in ("x", "y", "polarity", "t_us")}
    offsets = np.cumsum([0, *(of.stop - of.start for of in pieces)])
    labels = recordings["labels"][rows].astype(np.uint8)
    np.savez_compressed(path, **events, offsets=offsets, labels=labels, rows=rows, **more)


def accuracy(path: Path, events: NDArray[np.float32], labels: Array) -> float:
    """Return the share of right answers of the ONNX file in onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"events": events})
    return float((logits.argmax(axis=1) == labels).mean())


def some_of_each(rows: Array, labels: Array, n: int) -> Array:
    """Return the first ``n`` rows of every class, in their order."""
    return np.sort(np.concatenate([rows[labels[rows] == label][:n] for label in range(10)]))


def main() -> None:
    """Train, export, write the recordings and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="npz file of recordings")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--validate", action="store_true", help="train on 100 fewer and measure on those")
    given = parser.parse_args()
    with np.load(given.data) as data:
        recordings = {name: data[name] for name in data.files}
    labels = recordings["labels"]
    trained, aside = train_test_split(np.arange(len(labels)), test_size=ASIDE, stratify=labels, random_state=SEED)
    if given.validate:
        trained, aside = train_test_split(trained, test_size=100, stratify=labels[trained], random_state=SEED)
    net = train(counts(recordings, trained, SLICES), labels[trained], given.epochs)
    path = given.out / "nmnist.onnx"
    export(net, path)
    print(f"{sum(p.numel() for p in net.parameters())} parameters, {path.stat().st_size} bytes")
    for name, rows in (("trained on", trained), ("kept aside", aside)):
        found = accuracy(path, counts(recordings, rows, 1)[:, 0], labels[rows])
        print(f"{name}: {found:.2%} of {len(rows)} in onnxruntime")
    (given.out / "nmnist").mkdir(exist_ok=True)
    for file, rows in (("calib", trained), ("test", aside)):
        some = some_of_each(rows, labels, COMMITTED)
        save(recordings, some, given.out / "nmnist" / f"{file}.npz", rows_kept_aside=np.sort(aside))


if __name__ == "__main__":
    main()
