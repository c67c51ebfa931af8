"""What a trial does: map a prepared network by some options, and measure its integers on held-out samples.

The float network runs once, before the first trial: what bias correction reads of it and what it answers to the
held-out samples is remembered. So a trial needs no onnxruntime and can run in any process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner, RealValues, Seen
from ..compiler.compilation import Prepared, mapped, recalibrated
from ..evaluation.agreement import Agreement
from ..evaluation.labels import Judged, Labels, read_labels
from ..evaluation.side_by_side import PIECE, cuts, reference_of
from ..files.sample_files import Data
from ..foundation.diagnostics import CompileError, fail
from ..foundation.options import Options
from ..foundation.samples import Samples, n_samples, part
from ..frontend import LoadedModel
from ..host.codec import decoded, encode_all
from ..host.model_outputs import ending_of
from ..passes.mapping.correct_bias import MAX_SAMPLES
from ..program.network import Decoding, Program
from ..simulator.run import run_codes, single_threaded_blas
from . import cost
from .plan import Search
from .trial import Measured

Array = NDArray[Any]
LEAST_SAMPLES = 64
MOST_HELD = 512
# Biases of a trial are corrected on few samples, since that is most of the time that a mapping takes: on 64, on more of
# a small network, whose neurons are corrected one by one, and on fewer where all its numbers would not be remembered.
CORRECTED, QUICK_NUMBERS, MOST_NUMBERS = 64, 8_000_000, 32_000_000
INTEGERS_AT_A_TIME = 16_000_000
FLOOR = 1e-12  # probabilities below it are taken as it, so that no single sample makes a divergence infinite


class Remembered(FloatRunner):
    """A float network that has run: what it found for some samples, given again for as many of the first of them."""

    def __init__(self, runner: FloatRunner, x: Samples):
        self.graph, self.taps, self.joined = runner.graph, runner.taps, runner.joined
        self.pieces = [(n, _small(values.known), _small(found)) for n, values, found in runner.stream(x)]

    def stream(self, x: Samples) -> Iterator[Seen]:
        """Yield what the runner found for the first samples, of which ``x`` must be."""
        left = n_samples(x)
        for n, known, found in self.pieces:
            n = min(n, left)
            if n:
                real = {name: values[:n].astype(np.float64) for name, values in known.items()}
                yield n, RealValues(self.graph, real), part(found, slice(n))
            left -= n
        if left:
            raise RuntimeError(f"{left} samples of the float network are not remembered")


def _small(values: Mapping[str, Array]) -> dict[str, Array]:
    """Return the values in float32 where that loses nothing, as it does of a float32 model."""
    narrow = {name: v.astype(np.float32) for name, v in values.items() if v.dtype == np.float64}
    return {**values, **{name: v for name, v in narrow.items() if np.array_equal(v, values[name])}}


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out samples, and what the float network answers: ``want`` by the name of a Program's output.

    ``labels``: classes that the first of ``names`` tells; ``divergence``: the loss is that of classes.
    """

    data: Data
    want: Mapping[str, Array]
    names: tuple[str, ...]
    labels: Labels | None
    divergence: bool


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Measures options. It holds arrays only, so it crosses to other processes."""

    prepared: Prepared
    held: Held
    n_calibrated: int  # samples that the statistics are of

    def measure(self, options: Options, threads: int | None = None) -> Measured:
        """Return the numbers of the network that ``options`` make, or the code that refuses to map it.

        Weights are not learnt here, whatever the options say: that would take longer than everything else together.
        """
        try:
            with single_threaded_blas():
                program = mapped(self.prepared, replace(options, reconstruct=False)).program
        except CompileError as error:
            if not all(d.code.startswith("SFN4") for d in error.diagnostics):
                raise
            return Measured(refused=error.diagnostics[0].code)
        return measured(program, self.held, threads)


def evaluator_of(prepared: Prepared, search: Search, seed: int) -> Evaluator:
    """Return what measures trials: calibrated on one part of the samples, measured on the other.

    Raises SFN307 where the objective needs labels that are not there, SFN701 where samples are too few.
    """
    fit, kept = split(prepared.calibration, seed)
    if search.objective == "accuracy" and kept.labels is None:
        raise fail("SFN307", "--objective accuracy needs labels beside the samples", kept.source,
                   "add `labels`, or --objective agreement")  # fmt: skip
    again = recalibrated(prepared, fit)
    few = replace(fit, x=part(fit.x, slice(_corrected(prepared))), labels=None)
    runner = Remembered(again.runner, few.x)
    loaded = cast(LoadedModel, None)  # a trial reads no file
    light = replace(again, loaded=loaded, runner=runner, calibration=few, seconds={}, given=few, aside=None)
    return Evaluator(light, held_of(prepared, kept, search), len(fit))


def _corrected(prepared: Prepared) -> int:
    """Return on how many samples the biases of a trial are corrected."""
    size = sum(int(np.prod(t.shape)) for t in prepared.graph.types().values())
    return max(8, min(max(CORRECTED, QUICK_NUMBERS // size), MAX_SAMPLES, MOST_NUMBERS // size))


def split(data: Data, seed: int) -> tuple[Data, Data]:
    """Return the samples to calibrate on and those to measure on: half of them, at most 512. Raises SFN701."""
    n = len(data)
    if n < LEAST_SAMPLES:
        raise fail("SFN701", f"{n} samples; a search needs {LEAST_SAMPLES} at least", data.source)
    order = np.random.default_rng((seed, n)).permutation(n)
    held = min(n // 2, MOST_HELD)
    first, second = np.sort(order[held:]), np.sort(order[:held])
    return _chosen(data, first), _chosen(data, second)


def _chosen(data: Data, places: Array) -> Data:
    return replace(data, x=part(data.x, places), labels=None if data.labels is None else data.labels[places])


def held_of(prepared: Prepared, data: Data, search: Search) -> Held:
    """Return the held-out samples with the float network's answers. Raises SFN307 where no class can be told."""
    loaded = prepared.loaded
    ending = ending_of(loaded.output_names, loaded.tail)
    outputs = [o.name for o in prepared.graph.outputs]
    found = reference_of(loaded.path, loaded.input_names, loaded.batch, outputs, ending).run(data.x, ending.each)
    want = {name: np.asarray(found[name], np.float64) for name in outputs if name in found}
    names = tuple(n for n in want if n in ending.outputs) or tuple(want)
    if not names or (search.objective == "accuracy" and names[0] != ending.outputs[0]):
        what = "the first output is not computed by the network, so it tells no class"
        raise fail("SFN307", what, fix="--objective error")
    rows = want[names[0]][0].size > 1 and want[names[0]].ndim == 2
    place = any(o.name == names[0] and "int" in o.dtype for o in prepared.graph.outputs)
    labels = _labels(data, want[names[0]].shape[1:], names[0], place, search)
    return Held(data, want, names, labels, rows and not place and search.objective != "error")


def _labels(data: Data, shape: tuple[int, ...], name: str, is_place: bool, search: Search) -> Labels | None:
    """Return the labels where they are classes. Raises SFN307 where they are none and the objective needs them."""
    if data.labels is None:
        return None
    try:
        found = read_labels(data.labels, shape, name, is_place, data.label_place)
    except CompileError:
        if search.objective != "accuracy":
            return None
        raise
    if found.kind == "targets" and search.objective == "accuracy":
        raise fail("SFN307", "they are targets of a regression, which has no accuracy", data.label_place,
                   "--objective error")  # fmt: skip
    return None if found.kind == "targets" else found


def measured(program: Program, held: Held, threads: int | None = None) -> Measured:
    """Return scores and costs of a network on the held-out samples, all from its integers."""
    sums = {d.name: Agreement(places=d.is_place) for d in program.outputs if d.name in held.want}
    first = next(d for d in program.outputs if d.name == held.names[0])
    n, divergence, fired, operations = len(held.data), 0.0, 0, 0.0
    judged = None if held.labels is None else Judged(held.labels.kind)
    size = sum(int(np.prod(v.shape)) for v in program.values().values())
    for piece in cuts(n, max(1, min(PIECE, INTEGERS_AT_A_TIME // size))):
        values = run_codes(program, encode_all(program, part(held.data.x, piece)), threads=threads)
        fired += cost.spikes(program, values)
        operations += cost.synops(program, values)
        got = {d.name: decoded(d, values) for d in program.outputs}
        for name, score in sums.items():
            score.add(held.want[name][piece], got[name])
        want = held.want[first.name][piece]
        if judged is not None and held.labels is not None:
            judged.add(held.labels[piece], *(_as_answered(first, y) for y in (want, got[first.name])))
        if held.divergence:
            divergence += kl(_shares(first, want), _shares(first, got[first.name]))
    scores = {"error": float(np.mean([_error(s) for s in sums.values()])), "agreement": sums[first.name].agree / n}
    scores["loss"] = divergence / n if held.divergence else scores["error"]
    if judged is not None:
        scores["accuracy"] = judged.row()["accuracy"]["snn_top1"]
    return Measured(scores, {"spikes": fired / n, "synops": operations / n, "memory": cost.memory(program)})


def _as_answered(output: Decoding, y: Array) -> Array:
    return np.rint(y).astype(np.int64) if output.is_place else y


def _error(score: Agreement) -> float:
    """Return the squared error as a share of what varies in the output; of whole numbers, how often they differ."""
    return 1.0 - score.agree / score.n if score.places else score.noise / (score.signal.signal or 1.0)


def _shares(output: Decoding, y: Array) -> Array:
    """Return the probabilities of classes: the output itself where it is a softmax, else that of its scores."""
    y = np.asarray(y, np.float64).reshape(len(y), -1)
    if output.host and output.host[-1].kind == "softmax":
        return np.maximum(y, FLOOR)
    shifted = np.exp(y - y.max(axis=1, keepdims=True))
    return np.maximum(shifted / shifted.sum(axis=1, keepdims=True), FLOOR)


def kl(p: Array, q: Array) -> float:
    """Return the symmetric Kullback-Leibler divergence of rows, ``(KL(p, q) + KL(q, p)) / 2``, summed over them.

    The sensitivity of AdaFire (arXiv 2412.16219).
    """
    return float(((p - q) * np.log(p / q)).sum() / 2)
