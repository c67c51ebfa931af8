"""From an ONNX file and calibration data to a Program, in memory: what is known of a model once, then a mapping of it.

:func:`prepare` reads, checks and calibrates; :func:`mapped` chooses integers. Mappings of one prepared model differ in
their options only, so a search need not calibrate again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .calibration import methods
from .calibration.collect import FloatRunner, collect
from .calibration.statistics import Statistics
from .config import Options
from .data import GENERATED, Data, generated, load_data, subset
from .diagnostics import Diagnostic
from .execute import single_threaded_blas
from .frontend import LoadedModel, load_model
from .host_tail import check_tail, read_network
from .ir import Graph
from .passes.choose_ladders import ChooseLadders
from .passes.correct_bias import CorrectBias
from .passes.fold_thresholds import FoldThresholds
from .passes.lower import lower
from .passes.pipeline import UNPROBED, run_passes, structure
from .passes.quantize_weights import QuantizeWeights
from .probe import check_import
from .program import Program
from .samples import part

Progress = Callable[[str, int, int], None]
After = Callable[[str, Graph], None]

GENERATED_SAMPLES = 64
FEW_SAMPLES = 100


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@dataclass
class Prepared:
    """What is known of a model before any integer is chosen: its Layers with real weights, and its statistics."""

    loaded: LoadedModel
    graph: Graph
    runner: FloatRunner
    statistics: Mapping[str, Statistics]
    calibration: Data
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Compilation:
    """Everything a compilation made, before and beside what stands in files."""

    loaded: LoadedModel
    graph: Graph
    program: Program
    runner: FloatRunner
    calibration: Data
    options: Options
    warnings: list[Diagnostic] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def compile_model(
    model: Path,
    options: Options,
    calib: Path | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
    after: After | None = None,
) -> Compilation:
    """Return the Program of a model, nothing written. Raises CompileError with codes SFN1xx to SFN4xx and SFN605."""
    with single_threaded_blas():  # of many small matrices; threads that wait for each other cost more than they bring
        prepared = prepare(model, options, calib, input_shapes, progress, after)
        graph, program = mapped(prepared, options, after)
    warnings = data_warnings(prepared.calibration) if prepared.statistics else []
    return Compilation(prepared.loaded, graph, program, prepared.runner, prepared.calibration, options, warnings,
                       prepared.seconds)  # fmt: skip


def prepare(
    model: Path,
    options: Options,
    calib: Path | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
    after: After | None = None,
) -> Prepared:
    """Return the model as Layers with the statistics of every site.

    Of the options those of the samples and of the structure count: ``levels`` of the whole network, ``carry`` and
    ``attention``. Raises CompileError with codes SFN1xx to SFN3xx and SFN605.
    """
    options.check()
    methods.check_options(options.method, options.method_options)
    seconds: dict[str, float] = {}
    with timed(seconds, "import"):
        loaded, graph = read_network(load_model(model, input_shapes))
    data = _calibration_data(loaded, options, calib)
    with timed(seconds, "check import"):
        check_import(graph, loaded, part(data.x, slice(2)))
        check_tail(graph, loaded, part(data.x, slice(2)))
    with timed(seconds, "structure"):
        passes = structure(options)
        graph = run_passes(graph, passes[:UNPROBED], after=after)
        rng = np.random.default_rng(options.seed)
        probe = {i.name: rng.standard_normal((1, *i.type.shape)) for i in graph.inputs}
        graph = run_passes(graph, passes[UNPROBED:], probe, after)
        # Again after the passes: calibration trusts that a tap holds the numbers of the node that names it.
        check_import(graph, loaded, part(data.x, slice(2)))
    with timed(seconds, "calibrate"):
        runner = FloatRunner(graph, model, loaded.batch)
        statistics = collect(graph, runner, data.x, lambda i, n: progress("calibrate", i, n))
    return Prepared(loaded, graph, runner, statistics, data, seconds)


def recalibrated(prepared: Prepared, data: Data) -> Prepared:
    """Return the same model with the statistics of other samples."""
    statistics = collect(prepared.graph, prepared.runner, data.x)
    return replace(prepared, statistics=statistics, calibration=data, seconds={})


def mapped(prepared: Prepared, options: Options, after: After | None = None) -> tuple[Graph, Program]:
    """Return the graph with integers, and the Program that it is, for one choice of options. Raises SFN4xx, SFN605."""
    with timed(prepared.seconds, "map"):
        correct = CorrectBias(prepared.runner, prepared.calibration.x)
        passes = (ChooseLadders(prepared.statistics, options), QuantizeWeights(options), correct, FoldThresholds())
        graph = run_passes(prepared.graph, passes, after=after)
        return graph, lower(graph)


def _calibration_data(loaded: LoadedModel, options: Options, calib: Path | None) -> Data:
    if calib is None:
        n = options.samples or GENERATED_SAMPLES
        return generated(loaded.inputs, n, options.seed)
    return subset(load_data(calib, loaded.inputs), options.samples, options.seed)


def data_warnings(data: Data) -> list[Diagnostic]:
    """Return what to say of the samples that thresholds were chosen on; a network that states its own needs none."""
    n = len(data)
    if data.source == GENERATED:
        what = f"no --calib was given: thresholds come from {n} generated inputs and fit no real data"
        return [Diagnostic("SFN308", what, fix="pass real samples: --calib data.npz")]
    return [Diagnostic("SFN309", f"{n} samples", data.source, "512 are a good number")] if n < FEW_SAMPLES else []


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that a block takes to its ``stage``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
