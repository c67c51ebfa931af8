"""From an ONNX file and calibration data to a Program, in memory: what is known of a model once, then a mapping of it.

:func:`prepare` reads, checks and calibrates; :func:`mapped` chooses integers. Mappings of one prepared model differ in
their options only, so a search need not calibrate again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration import methods
from ..calibration.collect import FloatRunner, collect
from ..calibration.statistics import Statistics
from ..data.given import ENOUGH_OF_A_STREAM, Asked
from ..data.sources import open_data
from ..files.sample_files import GENERATED, Data, generated, kept_aside, of_frames
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.options import Options
from ..foundation.preparation import Given, given
from ..foundation.samples import in_frames, part
from ..frontend import LoadedModel, load_model
from ..graph.graph import Graph
from ..host.model_inputs import beginning_of
from ..passes.mapping.fold_thresholds import FoldThresholds
from ..passes.mapping.lower import lower
from ..passes.pipeline import UNPROBED, run_passes, structure
from ..program.network import Program
from ..simulator.run import single_threaded_blas
from .clocking import with_clock
from .corrections import corrected
from .draft import After, Progress, Work
from .gauge import Gauge
from .import_check import check_import
from .input_encoding import with_encoders
from .input_warnings import input_warnings
from .tail_survey import check_head, check_tail, read_network

GENERATED_SAMPLES = 64
FEW_SAMPLES = 100


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@dataclass
class Prepared:
    """What is known of a model before any integer is chosen: its Layers with real weights, and its statistics.

    ``ties``: places where onnxruntime's rounding took a quantiser of the model to the other side of a tie.
    ``given`` are all samples: those of ``calibration``, and those that are kept ``aside`` to measure the result on.
    """

    loaded: LoadedModel
    graph: Graph
    runner: FloatRunner
    statistics: Mapping[str, Statistics]
    calibration: Data
    seconds: dict[str, float]
    given: Data
    aside: Data | None
    ties: int = 0

    @property
    def is_calibrated(self) -> bool:
        """Whether anything was chosen from the samples; a quantised network states its own levels."""
        return bool(self.statistics)


@dataclass(frozen=True, eq=False)
class Mapped:
    """A mapping: the graph with integers, the Program that it is, and what each correction did, for the report."""

    graph: Graph
    program: Program
    corrections: list[dict[str, Any]]


@dataclass
class Compilation:
    """Everything a compilation made, before and beside what is in files; its data as in :class:`Prepared`."""

    loaded: LoadedModel
    graph: Graph
    program: Program
    runner: FloatRunner
    calibration: Data
    given: Data
    aside: Data | None
    is_calibrated: bool
    options: Options
    warnings: list[Diagnostic] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    corrections: list[dict[str, Any]] = field(default_factory=list)
    ties: int = 0


def compile_model(
    model: Path,
    options: Options,
    calib: Path | Given | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
    after: After | None = None,
) -> Compilation:
    """Return the Program of a model, nothing written. Raises CompileError with codes SFN1xx to SFN4xx and SFN605."""
    with single_threaded_blas():  # of many small matrices; threads that wait for each other cost more than they bring
        prepared = prepare(model, options, calib, input_shapes, progress, after)
        made = mapped(prepared, options, after, progress, measured=True)
    warnings = [*data_warnings(prepared), *input_warnings(made.graph, prepared.statistics)]
    return compilation_of(prepared, options, made, warnings if prepared.statistics else [])


def compilation_of(prepared: Prepared, options: Options, made: Mapped, warnings: list[Diagnostic]) -> Compilation:
    """Return what was made of a prepared model with some options, over time where they ask for it. Raises SFN608."""
    p = prepared
    with timed(p.seconds, "clock"):
        program = with_clock(made.program, options, p.calibration.shown, None if p.aside is None else p.aside.shown)
    return Compilation(p.loaded, made.graph, program, p.runner.of(made.graph), p.calibration, p.given, p.aside,
                       p.is_calibrated, options, warnings, p.seconds, made.corrections, p.ties)  # fmt: skip


def prepare(
    model: Path,
    options: Options,
    calib: Path | Given | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
    after: After | None = None,
) -> Prepared:
    """Return the model as Layers with the statistics of every site.

    Of the options those of the samples and of the structure count: ``levels`` of the whole network, ``carry`` and
    ``attention``. Raises CompileError with codes SFN1xx to SFN3xx and SFN605.
    """
    check_options(options)
    seconds: dict[str, float] = {}
    progress("import", 0, 1)
    with timed(seconds, "import"):
        loaded, graph = read_network(load_model(model, input_shapes), options.start, options.end)
    read = read_data(loaded, graph, options, calib, seconds, after, progress)
    return calibrated(read, progress)


def check_options(options: Options) -> None:
    """Raise SFN605 where an option has a value that is not accepted."""
    options.check()
    methods.check_options(options.method, options.method_options)


def read_data(
    loaded: LoadedModel, graph: Graph, options: Options, calib: Path | Given | None, seconds: dict[str, float],
    after: After | None = None, progress: Progress = silent,
) -> Prepared:  # fmt: skip
    """Return the model as Layers that compute what onnxruntime does, without statistics.

    Raises CompileError with codes SFN106, SFN107, SFN203, SFN3xx; SFN609 for frames where the host computes the start.
    """
    every = _calibration_data(loaded, options, calib, progress)
    if options.input_coding == "frames":
        if loaded.head is not None:
            raise fail("SFN609", "frames, and a part of the model that the host computes before the network",
                       loaded.head.nodes[0], "start the model behind it, and give frames of what it makes")  # fmt: skip
        every = of_frames(every)
    with timed(seconds, "host head"):
        every = replace(every, x=beginning_of(loaded.head).samples(every.x))
    data, aside = kept_aside(every, options.seed)
    with timed(seconds, "check import"):
        check_head(loaded, part(data.x, slice(2)))
        check_import(graph, loaded, part(data.x, slice(2)))
        check_tail(graph, loaded, part(data.x, slice(2)))
    with timed(seconds, "structure"):
        imported = graph
        graph = structured(graph, options, after)
        # Again after the passes: calibration trusts that a tap holds the numbers of the node that names it.
        ties = check_import(graph, loaded, part(data.x, slice(2)), imported)
        graph = with_encoders(graph, data.x, options, after)
    runner = FloatRunner(graph, loaded.path, loaded.batch, loaded.input_names)
    return Prepared(loaded, graph, runner, {}, data, seconds, every, aside, ties)


def calibrated(prepared: Prepared, progress: Progress = silent) -> Prepared:
    """Return the same model with the statistics of its samples. Raises SFN104."""
    with timed(prepared.seconds, "calibrate"):
        graph, x = prepared.graph, prepared.calibration.x
        statistics = collect(graph, prepared.runner, x, lambda i, n: progress("calibrate", i, n))
    return replace(prepared, statistics=statistics)


def recalibrated(prepared: Prepared, data: Data) -> Prepared:
    """Return the same model with the statistics of other samples."""
    statistics = collect(prepared.graph, prepared.runner, data.x)
    return replace(prepared, statistics=statistics, calibration=data, seconds={})


def structured(graph: Graph, options: Options, after: After | None = None) -> Graph:
    """Return the imported graph as Layers: the same for the same options, whatever the samples."""
    passes = structure(options)
    graph = run_passes(graph, passes[:UNPROBED], after=after)
    rng = np.random.default_rng(options.seed)
    probe = {i.name: rng.standard_normal((1, *i.type.shape)) for i in graph.inputs}
    return run_passes(graph, passes[UNPROBED:], probe, after)


def mapped(
    prepared: Prepared, options: Options, after: After | None = None, progress: Progress = silent,
    measured: bool = False,
) -> Mapped:  # fmt: skip
    """Return a prepared model in integers for one choice of options. Raises SFN4xx, SFN605.

    ``measured``: with what every correction did to the error of the outputs, which takes time.
    """
    if measured:
        progress(f"map {len(prepared.graph.nodes)} layers", 0, 1)
    with timed(prepared.seconds, "map"):
        work = Work(prepared.graph, prepared.runner, prepared.statistics, prepared.calibration.x, options, after,
                    progress)  # fmt: skip
        gauge = Gauge(work.origin, work.runner, work.x) if measured else None
        chosen, rows = corrected(work, gauge)
        graph = work.run(chosen, FoldThresholds())
        return Mapped(graph, lower(graph), rows)


def _calibration_data(loaded: LoadedModel, options: Options, calib: Path | Given | None, progress: Progress) -> Data:
    inputs = in_frames(loaded.inputs, options.window_steps if options.input_coding == "frames" else None)
    if calib is None:
        n = options.samples or GENERATED_SAMPLES
        return generated(inputs, n, options.seed)
    needs_labels = options.max_drop is not None
    data = given(calib)
    return open_data(data.what, Asked(inputs, options.samples, options.seed, needs_labels, data.preparation,
                                      most=ENOUGH_OF_A_STREAM, progress=progress))  # fmt: skip


def data_warnings(prepared: Prepared) -> list[Diagnostic]:
    """Return what to say of the samples that thresholds were chosen on; a network that states its own needs none."""
    data, n = prepared.calibration, len(prepared.calibration)
    if data.source == GENERATED:
        what = f"no --calib was given: thresholds come from {n} generated inputs and fit no real data"
        return [Diagnostic("SFN308", what, fix="pass real samples: --calib data.npz")]
    few = [Diagnostic("SFN309", f"{n} samples", data.source, "512 are a good number")] if n < FEW_SAMPLES else []
    return few + _constant_inputs(prepared)


def _constant_inputs(prepared: Prepared) -> list[Diagnostic]:
    """Return SFN310 for every input that is the same in all samples, or of which half the channels never change."""
    found, x = [], prepared.calibration.x
    for source in prepared.graph.inputs:
        values, stats = x[source.model_name], prepared.statistics.get(source.name)
        still = 0 if stats is None else int((stats.low == stats.high).sum())
        if len(values) > 1 and all(np.array_equal(v, values[0]) for v in (values[i] for i in range(1, len(values)))):
            what = f"all {len(values)} samples are the same"
        elif stats is not None and 2 * still >= len(stats.low):
            what = f"{still} of {len(stats.low)} channels hold one number in all samples"
        else:
            continue
        found.append(Diagnostic("SFN310", what, f"input {source.model_name!r}", "calibrate on samples that differ"))
    return found


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that a block takes to its ``stage``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
