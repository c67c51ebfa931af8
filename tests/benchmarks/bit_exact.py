"""Does a network give the same numbers at every optimisation level of onnxruntime? Write ``docs/bit_exact.md``.

    python -m tests.benchmarks.bit_exact --write docs/bit_exact.md

Two 8-bit forms of one float network, made from the same calibration samples: ``quantize_static`` of onnxruntime (QDQ,
8-bit weights and activations), and the target ``onnx`` of sfnc. Each is run at the four optimisation levels on the same
test images. Compared are the outputs, number for number, with those of the level without optimisation.
"""

from __future__ import annotations

import argparse
import logging
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from sfn_backends.onnx import FILE, OnnxBackend

from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.version import __version__
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes

from ..corpus import corpus_data
from .performance import quantize

NETWORK = "cifar_resnet20_op13"
CALIBRATION = 512
LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32}
Array = np.ndarray[Any, Any]


def at_every_level(model: Path, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Return the first output of a model, shape (samples, classes), by the name of the optimisation level."""
    found = {}
    for name, level in LEVELS.items():
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        ready = {i.name: feed[i.name].astype(TYPES[i.type]) for i in session.get_inputs()}
        n = len(next(iter(ready.values())))
        pieces = [{k: v[i : i + 100] for k, v in ready.items()} for i in range(0, n, 100)]
        found[name] = np.concatenate([session.run(None, piece)[0] for piece in pieces])
    return found


def row(name: str, found: Mapping[str, Array]) -> list[str]:
    """Return one table line per optimised level: how many outputs and how many answers differ from "disabled"."""
    plain, lines = found["disabled"], []
    for level in list(LEVELS)[1:]:
        other = found[level]
        outputs = int((other != plain).sum())
        answers = int((other.argmax(axis=1) != plain.argmax(axis=1)).sum())
        lines.append(f"| {name} | {level} | {outputs:,} of {plain.size:,} | {answers} of {len(plain):,} |")
    return lines


def measure(images: int, folder: Path) -> list[str]:
    """Return the lines of the table. Raises AssertionError where the target differs from the simulator."""
    model = corpus_data.model_path(NETWORK)
    data = corpus_data.write_npz(folder / "calib.npz", NETWORK, "train", CALIBRATION, 0)
    done = compile_model(model, Options(), data)
    (given,) = done.loaded.input_names
    with np.load(data) as calibration:
        feed = {given: calibration["x"]}
    theirs = {"a scale per tensor": folder / "tensor.onnx", "a scale per channel": folder / "channel.onnx"}
    for path in theirs.values():
        quantize(model, feed, path, per_channel=path.stem == "channel")
    OnnxBackend().emit(done.program, folder, {})
    x = corpus_data.samples(NETWORK, "test")[0][:images]
    codes = encode_all(done.program, {given: x})
    ours = at_every_level(folder / FILE, codes)
    assert np.array_equal(ours["disabled"], run_codes(done.program, codes)[done.program.outputs[0].value])
    lines = [line for n, p in theirs.items() for line in row(f"`quantize_static`, {n}", at_every_level(p, {given: x}))]
    return [*lines, *row("sfnc, target `onnx`", ours)]


PAGE = """# The same numbers at every optimisation level

Made by `make bit-exact` with sfnc {sfnc}, onnxruntime {ort}, NumPy {numpy}, Python {python}, on {machine}.

Onnxruntime rewrites a graph before it runs it, and has four levels of doing so.
A quantised network whose arithmetic is partly floating point may give other numbers at another level: fused operators
round in other places.
`{network}` was made into an 8-bit network twice, from the same {calibration} calibration samples: by onnxruntime's
`quantize_static` (QDQ, 8-bit weights and activations), and by `sfnc --target onnx`.
Both ran on the same {images:,} test images at all four levels; the table compares every output with that of the level
`disabled`, number for number, without a tolerance.

| 8-bit network | level | outputs that differ | top-1 answers that differ |
|---|---|---|---|
{rows}

The outputs of `sfnc` are integers, and they were equal to the simulator's as well.
Why they cannot differ: every sum fits the number type that computes it, for every input
([proved ranges](spec/mapping.md#6-range-proof)), so no order of additions and no fusion changes it.
"""


def main() -> None:
    """Measure, print and, with ``--write``, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="test images")
    parser.add_argument("--write", type=Path, help="the page to write")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # quantize_static recommends preprocessing
    with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
        rows = "\n".join(measure(args.images, Path(folder)))
    page = PAGE.format(
        sfnc=__version__, ort=ort.__version__, numpy=np.__version__, python=platform.python_version(),
        machine=_processor(), network=NETWORK, calibration=CALIBRATION, images=args.images, rows=rows,
    )  # fmt: skip
    print(page)
    if args.write:
        args.write.write_text(page, encoding="utf-8")


def _processor() -> str:
    """Return the processor's name as Linux says it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
