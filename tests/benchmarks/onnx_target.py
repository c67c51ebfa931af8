"""Time the target ``onnx`` beside onnxruntime's float32 on the original model and beside the simulator.

    python tests/benchmarks/onnx_target.py

Two threads each, the same batch, one round after another (float, onnx, simulator, float, ...); the ratios are medians
over rounds of the ratio within one round, so that a machine that slows down slows all of them. Only the networks are
timed, from input codes to output integers. Before that, every output integer is compared with the simulator's.

    python tests/benchmarks/onnx_target.py --cpu-time

One thread of onnxruntime, and seconds of the processor instead of the clock: for a machine that does other things too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from sfn_backends.onnx import FILE, OnnxBackend

from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.host.codec import encode
from sfn_compile.simulator.run import run_codes

from ..corpus import corpus_data

CALIBRATION = 16


Clock = Callable[[], float]


class Network:
    """Writes a float network with random weights, for sizes of which the corpus has none."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape = shape

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return its output."""
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """Add weights that keep the variance; return their name."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 400
        array = self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x: str, c: int, o: int, k: int, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with bias and half padding."""
        return self.add("Conv", x, self.weight(o, c // groups, k, k), self.weight(o), kernel_shape=[k, k],
                        strides=[stride] * 2, pads=[k // 2] * 4, group=groups)  # fmt: skip

    def save(self, path: Path, out: str, n_out: int) -> Path:
        """Write the model with input ``x`` and output ``out``."""
        ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *self.shape])]
        outs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["n", n_out])]
        graph = helper.make_graph(self.nodes, "net", ends, outs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, path)
        return path


def resnet18(folder: Path) -> Path:
    """Return a ResNet-18 at 224x224 with random weights."""
    net = Network((3, 224, 224))
    x = net.add("Relu", net.conv("x", 3, 64, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c = 64
    for o, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        inner = net.conv(net.add("Relu", net.conv(x, c, o, 3, stride)), o, o, 3)
        skip = x if c == o else net.conv(x, c, o, 1, stride)
        x, c = net.add("Relu", net.add("Add", inner, skip)), o
    pooled = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.save(folder / "resnet18.onnx", net.add("Gemm", pooled, net.weight(1000, 512), transB=1), 1000)


def mobilenet(folder: Path) -> Path:
    """Return a MobileNet v1, width 0.5, at 160x160 with random weights: depthwise and 1x1 convolutions, ReLU6."""
    net = Network((3, 160, 160))
    net.weights += [numpy_helper.from_array(np.float32(v), n) for v, n in ((0, "zero"), (6, "six"))]
    c, x = 16, net.add("Clip", net.conv("x", 3, 16, 3, 2), "zero", "six")
    for o, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)):
        x = net.add("Clip", net.conv(x, c, c, 3, stride, c), "zero", "six")
        c, x = o, net.add("Clip", net.conv(x, c, o, 1), "zero", "six")
    pooled = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.save(folder / "mobilenet.onnx", net.add("Gemm", pooled, net.weight(1000, 512), transB=1), 1000)


def corpus(name: str) -> Callable[[Path], Path]:
    """Return a model of the corpus."""
    return lambda folder: corpus_data.model_path(name)


NETWORKS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "cifar_resnet20_op13": (corpus("cifar_resnet20_op13"), 64),
    "imagenet_mobilenet_v1_050_160": (corpus("imagenet_mobilenet_v1_050_160"), 16),
    "mobilenet v1 0.5 at 160": (mobilenet, 16),
    "resnet18 at 224": (resnet18, 8),
    "mnist_mlp_256x2": (corpus("mnist_mlp_256x2"), 256),
}


def measure(model: Path, batch: int, rounds: int, folder: Path, threads: int, clock: Clock) -> dict[str, Any]:
    """Return samples per second of all three and the ratios to float, medians over rounds."""
    done = compile_model(model, Options(samples=CALIBRATION))
    loaded = done.loaded
    (given,) = loaded.inputs
    rng, shape = np.random.default_rng(0), (batch, *given.shape)
    x = rng.integers(0, 256, shape) if given.dtype == "uint8" else rng.standard_normal(shape)
    x = x.astype(given.dtype)
    codes = {e.value: encode(e, x) for e in done.program.inputs}
    OnnxBackend().emit(done.program, folder, {})
    float_run = _session(model, {given.name: x}, loaded.batch, threads)
    spiking = _session(folder / FILE, codes, None, threads)
    wanted = [d.value for d in done.program.outputs]
    simulate = lambda: run_codes(done.program, codes, wanted, threads=threads)  # noqa: E731
    expected = simulate()
    found = dict(zip(wanted, spiking(), strict=True))
    assert all(np.array_equal(found[name], expected[name]) for name in wanted)
    times = np.array([[_seconds(f, clock) for f in (float_run, spiking, simulate)] for _ in range(rounds)])
    return {"rate": batch / np.median(times, axis=0), "ratio": np.median(times[:, :1] / times, axis=0)}


def _session(path: Path, feed: dict[str, Any], fixed_batch: int | None, threads: int) -> Callable[[], list[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    ready = {i.name: feed[i.name].astype(types[i.type]) for i in session.get_inputs() if i.name in feed}
    step = fixed_batch or len(next(iter(ready.values())))
    pieces = [{k: v[i : i + step] for k, v in ready.items()} for i in range(0, len(next(iter(ready.values()))), step)]
    return lambda: [np.concatenate(parts) for parts in zip(*(session.run(None, p) for p in pieces), strict=True)]


def _seconds(run: Callable[[], Any], clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="networks")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true", help="one thread, seconds of the processor")
    args = parser.parse_args()
    threads, clock = (1, time.process_time) if args.cpu_time else (2, time.perf_counter)
    unit = "second of the processor" if args.cpu_time else "second"
    print(f"onnxruntime {ort.__version__}, {threads} threads; samples per {unit}, ratios to float32")
    print("\n| network | batch | float32 | target onnx | simulator | onnx / float | simulator / float |")
    print("|---|---|---|---|---|---|---|")
    for name in args.only:
        make, batch = NETWORKS[name]
        with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
            found = measure(make(Path(folder)), batch, args.rounds, Path(folder), threads, clock)
        rates = " | ".join(f"{r:.0f}" for r in found["rate"])
        print(f"| {name} | {batch} | {rates} | {found['ratio'][1]:.2f} | {found['ratio'][2]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
