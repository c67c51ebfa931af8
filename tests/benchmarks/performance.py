"""Measure speed and memory against other programs, side by side; write ``docs/performance.md``.

    python tests/benchmarks/performance.py --write docs/performance.md

Every ratio is a median over rounds in which both programs ran one after the other, so that a machine that slows down
slows both. Throughput: onnxruntime's float32 on the same model and batch. Compile time: ``quantize_static`` of
onnxruntime (MinMax) with the same samples. Lava: the same Program on the CPU. Peak memory: processes of their own.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from sfn_backends.lava import LavaBackend

from sfn_compile.commands.build import build
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.version import __version__
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import n_cores, run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize

from . import onnx_target

DIGITS = Path(__file__).resolve().parents[2] / "models" / "digits.onnx"
NETWORKS = ("cifar_resnet20_op13", "imagenet_mobilenet_v1_050_160", "resnet18 at 224", "mnist_mlp_256x2")
CALIBRATION = {"cifar_resnet20_op13": 512, "imagenet_mobilenet_v1_050_160": 64, "resnet18 at 224": 16,
               "mnist_mlp_256x2": 512}  # fmt: skip
MEMORY_SAMPLES = (100, 1000)
LAVA_SAMPLES = (8, 264)


def samples(model: Path, n: int) -> dict[str, np.ndarray]:
    """Return ``n`` random samples of a model's only input."""
    (source,) = (i for i in onnx.load(str(model), load_external_data=False).graph.input)
    kind = onnx.helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type)
    shape = (n, *(d.dim_value for d in source.type.tensor_type.shape.dim[1:]))
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, shape, np.uint8) if kind.kind == "u" else rng.standard_normal(shape, np.float32)
    return {source.name: values.astype(kind)}


def seconds(run: Callable[[], Any]) -> float:
    """Return the wall-clock time of one call."""
    return onnx_target._seconds(run, time.perf_counter)


def both_clocks(run: Callable[[], Any]) -> tuple[float, float]:
    """Return the wall-clock time of one call and the processor time of all its threads."""
    busy = time.process_time()
    wall = seconds(run)
    return wall, time.process_time() - busy


# -- throughput -----------------------------------------------------------------------------------------------------
def throughput(rounds: int) -> list[str]:
    """Return one line per network: rates and ratios with two threads, and ratios of processor time with one."""
    lines = []
    for name in NETWORKS:
        make, batch = onnx_target.NETWORKS[name]
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            folder = Path(scratch)
            model = make(folder)
            wall = onnx_target.measure(model, batch, rounds, folder, 2, time.perf_counter)
            busy = onnx_target.measure(model, batch, rounds, folder, 1, time.process_time)
        rates = " | ".join(f"{r:,.0f}" for r in wall["rate"])
        ratios = " | ".join(f"{r:.2f}" for r in (wall["ratio"][1], wall["ratio"][2], busy["ratio"][2]))
        lines.append(said(f"| {name} | {batch} | {rates} | {ratios} |"))
    return lines


# -- compile time ---------------------------------------------------------------------------------------------------
def quantize(model: Path, x: Mapping[str, np.ndarray], out: Path, per_channel: bool = False) -> None:
    """Run onnxruntime's static quantisation, MinMax, one sample at a time as its reader gives them."""
    from onnxruntime.quantization import CalibrationMethod, quantize_static

    class Reader:
        def __init__(self) -> None:
            self.rows = iter([{k: v[i : i + 1] for k, v in x.items()} for i in range(len(next(iter(x.values()))))])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rows, None)

    quantize_static(str(model), str(out), Reader(), per_channel=per_channel, calibrate_method=CalibrationMethod.MinMax)


def compile_times(rounds: int) -> list[str]:
    """Return one line per network: seconds of both, their ratio, and that of processor time."""
    lines = []
    for name in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            folder = Path(scratch)
            model = onnx_target.NETWORKS[name][0](folder)
            x = samples(model, CALIBRATION[name])
            np.savez(folder / "x.npz", **x)
            ours = lambda: build(model, folder / "out", Options(), folder / "x.npz")  # noqa: B023, E731
            theirs = lambda: quantize(model, x, folder / "q.onnx")  # noqa: B023, E731
            times = np.array([[both_clocks(theirs), both_clocks(ours)] for _ in range(rounds)])
        middle = np.median(times[:, :, 0], axis=0)
        wall, busy = np.median(times[:, 1] / times[:, 0], axis=0)
        both = f"{middle[0]:.1f} | {middle[1]:.1f} | {wall:.1f} | {busy:.1f}"
        lines.append(said(f"| {name} | {CALIBRATION[name]} | {both} |"))
    return lines


# -- Lava -----------------------------------------------------------------------------------------------------------
def lava() -> list[str]:
    """Return one line per network: milliseconds per sample in Lava's CPU run and in the simulator.

    Lava's time to start is taken out by two runs of different length.
    """
    why = LavaBackend().available()
    if why is not None:
        return [f"| not measured: {why} | | | |"]
    lines = []
    for name, model in (("digits (models/)", DIGITS), ("mnist_mlp_256x2", onnx_target.corpus("mnist_mlp_256x2"))):
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            folder = Path(scratch)
            path = model if isinstance(model, Path) else model(folder)
            program = legalize(compile_model(path, Options(samples=16)).program, "lava", LavaBackend.capabilities)
            target = LavaBackend(mode="whole")
            target.emit(program, folder, {})
            few, many = (encode_all(program, samples(path, n)) for n in LAVA_SAMPLES)
            wanted = [d.value for d in program.outputs]
            requests = [RunRequest(codes, {}, 600.0) for codes in (few, many)]
            short, long = (min(seconds(partial(target.run, folder, r)) for _ in range(3)) for r in requests)
            run_codes(program, many, wanted)
            ours = np.median([seconds(lambda: run_codes(program, many, wanted)) for _ in range(9)]) / LAVA_SAMPLES[1]  # noqa: B023
        each = (long - short) / (LAVA_SAMPLES[1] - LAVA_SAMPLES[0])
        lines.append(said(f"| {name} | {1e3 * each:.2f} | {1e3 * ours:.3f} | {each / ours:,.0f} |"))
    return lines


# -- memory ---------------------------------------------------------------------------------------------------------
def memory() -> tuple[list[str], list[str]]:
    """Return the lines on running a network and those on compiling it, each measured in a process of its own."""
    running, compiling = [], []
    base = child("nothing", DIGITS, 1)
    for name in NETWORKS:
        make, batch = onnx_target.NETWORKS[name]
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            model = make(Path(scratch))
            found = [child(kind, model, batch) - base for kind in ("float", "simulator")]
            running.append(said(f"| {name} | {batch} | {found[0]:.0f} | {found[1]:.0f} |"))
    for name in NETWORKS[:2]:
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            model = onnx_target.NETWORKS[name][0](Path(scratch))
            found = [child("compile", model, n) for n in MEMORY_SAMPLES]
            data = [sum(v.nbytes for v in samples(model, n).values()) / 2**20 for n in MEMORY_SAMPLES]
        grown = f"{found[1] - found[0]:+.0f} | {data[1] - data[0]:+.0f}"
        compiling.append(said(f"| {name} | {found[0]:.0f} | {found[1]:.0f} | {grown} |"))
    return running, compiling


def child(kind: str, model: Path, n: int) -> float:
    """Return the peak resident memory in MiB of a process that does one thing."""
    command = [sys.executable, "-m", __spec__.name, "--child", kind, str(model), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def be_child(kind: str, model: Path, n: int) -> None:
    """Do one thing and print this process's peak memory in MiB."""
    with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
        folder = Path(scratch)
        if kind == "compile":
            np.savez(folder / "x.npz", **samples(model, n))
            build(model, folder / "out", Options(), folder / "x.npz")
        elif kind == "float":
            fixed = onnx.load(str(model)).graph.input[0].type.tensor_type.shape.dim[0].dim_value or None
            onnx_target._session(model, samples(model, n), fixed, 2)()
        elif kind == "simulator":
            compiled = child_program(model, folder)
            codes = encode_all(compiled, samples(model, n))
            run_codes(compiled, codes, [d.value for d in compiled.outputs], threads=2)
    print(peak())


def peak() -> float:
    """Return this process's peak memory in MiB; ``getrusage`` would count what its parent held when it was forked."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def child_program(model: Path, folder: Path) -> Any:
    """Return the Program of a model, compiled in another process so that its memory does not count."""
    code = (
        "import sys; from pathlib import Path; from sfn_compile.commands.build import build;"
        "from sfn_compile.foundation.options import Options;"
        "build(Path(sys.argv[1]), Path(sys.argv[2]), Options(samples=4))"
    )
    subprocess.run([sys.executable, "-c", code, str(model), str(folder / "out")], check=True)
    from sfn_compile import load

    return load(folder / "out").program


# -- the command line -----------------------------------------------------------------------------------------------
def command_line(rounds: int) -> list[str]:
    """Return one line per command: median seconds from start to end."""
    lines = []
    for what, *arguments in (("sfnc --help", "--help"), ("sfnc check models/digits.onnx", "check", str(DIGITS))):
        command = [sys.executable, "-m", "sfn_compile.cli.main", *arguments]
        run = lambda: subprocess.run(command, capture_output=True, check=True)  # noqa: B023, E731
        run()
        times = [seconds(run) for _ in range(rounds)]
        lines.append(said(f"| `{what}` | {np.median(times):.2f} | {min(times):.2f} |"))
    return lines


def said(line: str) -> str:
    """Print a line and return it."""
    print(line, flush=True)
    return line


def machine() -> str:
    """Return what the processor calls itself, its cores, and whether others were using them."""
    model, vnni = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        text = info.read_text(encoding="utf-8")
        model = next((line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line), model)
        vnni = ", AVX-512 VNNI" if "avx512_vnni" in text else ", no AVX-512 VNNI"
    load = os.getloadavg()[0]
    busy = f"others were using it (load {load:.1f} before the first measurement)" if load > 0.5 else "otherwise idle"
    return f"{model}, {n_cores()} cores{vnni}; {busy}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="write the page here as well")
    parser.add_argument("--rounds", type=int, default=11, help="of throughput; the slow ones take a third")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "MODEL", "N"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # quantize_static recommends preprocessing
    if args.child:
        be_child(args.child[0], Path(args.child[1]), int(args.child[2]))
        return
    if not onnx_target.corpus_data.present():
        sys.exit(onnx_target.corpus_data.MISSING)
    slow = max(1, args.rounds // 3)
    facts = {"machine": machine(), "version": __version__, "python": platform.python_version(),
             "numpy": np.__version__, "ort": ort.__version__}  # fmt: skip
    tables = {"commands": command_line(slow), "throughput": throughput(args.rounds), "compile": compile_times(slow),
              "lava": lava()}  # fmt: skip
    tables["running"], tables["compiling"] = memory()
    page = PAGE.format(**facts, few=MEMORY_SAMPLES[0], many=MEMORY_SAMPLES[1],
                       **{k: "\n".join(v) for k, v in tables.items()})  # fmt: skip
    if args.write:
        args.write.write_text(page, encoding="utf-8")


PAGE = """# Speed and memory

Made by `make benchmarks` with sfnc {version}, Python {python}, NumPy {numpy}, onnxruntime {ort}.
Machine: {machine}.

Every ratio is the median over rounds of the ratio within one round, in which both programs ran one after the other.
The networks of the corpus were trained by other people and are not part of this repository; the ResNet-18 has random
weights.

## Throughput

From input codes to output integers against onnxruntime's float32 on the same model and batch, two threads each. Before
anything is timed, every output integer of the target `onnx` is compared with the simulator's. The last column is the
ratio of processor time with one thread each, which other users of the machine disturb less.

| network | batch | float32, samples/s | target onnx | simulator | onnx / float | sim / float | same, processor time |
|---|---|---|---|---|---|---|---|
{throughput}

Wanted: simulator 0.4 on ResNets, 0.2 on depthwise networks; target onnx 1.0 everywhere, 3.0 on the ResNet-18.

onnxruntime's 8-bit kernels are at most four times as fast as its float32 ones (600 against 160 GOP/s in one thread with
AVX-512 VNNI), and plain 3x3 layers of the ResNet-18 get that. What stands between it and the network as a whole: a
first layer with 8-bit codes reads its channels twice, as pairs of products would saturate without VNNI; every second
layer joins a skip, for a ninth of its products and a copy of its windows, because no standard operator adds to an
accumulator before it is rounded; and codes below 255 are cut by an operator of their own.
[ADR 0038](adr/0038-layouts-for-the-integer-kernels.md) says what was tried.

The simulator is NumPy: its matrix products run at the speed of float32 BLAS, and every other step of a layer
(unrolling windows, adding, dividing by thresholds, cutting to codes) is a pass over memory of its own, where
onnxruntime fuses them into the convolution. [ADR 0022](adr/0022-kernels-with-the-batch-last.md) says what else was
looked at. A float model of fixed batch 1 (mnist_mlp_256x2) runs one sample at a time in onnxruntime, a call for each.

## Compile time

`sfnc model.onnx --calib` (target sim: import, checks, calibration, thresholds, bias correction, report, golden
integers) against onnxruntime's `quantize_static` (MinMax) on the same samples. Stage by stage: `timing.json`.

| network | samples | quantize_static, s | sfnc, s | sfnc / quantize_static | same, processor time |
|---|---|---|---|---|---|
{compile}

Wanted: at most 1; where it is missed, this is why. `quantize_static` keeps a minimum and a maximum of each value. sfnc
fills histograms of every channel, searches every channel's step and threshold over about a hundred candidates, runs the
integer network and the float one layer by layer on up to 256 samples to correct biases, measures every layer for the
report, and computes golden integers with two engines. None of that is left out to be faster.

Passes are probed on what they changed. Biases and the report run the float network once more each. Biases are corrected
piece by piece in the kernels of the fast engine, accumulators are computed once, and the true drive beside them is
float32: Programs were the same to the digest as with float64. What is left of the largest network, ResNet-18, are
convolutions: float32 beside every layer whose bias is corrected, float64 in the two checks of the import, int64 by the
plain engine for one golden sample, by the fast one for biases and the report. For MobileNet it is biases (a third),
the report (a third), the search for steps and histograms.

## Lava

The same Program on Lava's CPU simulation, its start taken out by two runs of different length.

| network | Lava, ms per sample | simulator, ms per sample | Lava / simulator |
|---|---|---|---|
{lava}

## Peak memory

Of a process that runs a network once, above one that only imports everything, MiB.

| network | batch | onnxruntime float32 | simulator |
|---|---|---|---|
{running}

Of a process that compiles, MiB; importing everything takes 130. Statistics are of fixed size (120 for a
MobileNet). Samples of more than 64 MiB in an uncompressed `.npz` or `.npy` stay in the file; smaller ones are read.
Biases are corrected on at most 256 samples. Of what that needs (up to 96 million real numbers in float32, codes, and
accumulators of one layer) 32 MiB each stay in memory and the rest in a temporary file, so memory grows with the samples
up to there, and no further.

| network | {few} images | {many} images | growth | the samples' own growth |
|---|---|---|---|---|
{compiling}

## Command line

Wanted: below 0.3 s and 1.5 s. Starting Python counts.

| command | median, s | fastest, s |
|---|---|---|
{commands}
"""

if __name__ == "__main__":
    main()
