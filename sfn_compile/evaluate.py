"""Run and evaluate a build: integers in the Program, real numbers decoded, the float model beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import artifact, backend
from .agreement import Agreement, top1
from .backend import RunRequest
from .config import check_choice
from .data import load_data, subset
from .diagnostics import fail
from .ending import Ending, named, open_ending
from .execute import run_codes
from .frontend.reference import FloatReference, original_names
from .host import answer, decode, encode_all
from .legalize import legalize
from .program import Program
from .samples import Samples, by_name, n_samples, part
from .serialize import npz_bytes

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]
_BATCH, _BATCH_ELSEWHERE = 64, 1024  # a target is started once per piece


def run_build(
    folder: Path, data: Path, on: str = "sim", codes: bool = False, time_limit: float = 1800.0
) -> dict[str, Array]:
    """Return the outputs ``(n, ...)`` of a build on a target, by ONNX output name (``name/i`` for sample i where the
    shape of an output differs from sample to sample).

    ``codes``: the raw integers of every population and the input instead of decoded real outputs.
    """
    manifest, program = artifact.open_build(folder)
    ending = open_ending(folder, manifest, program)
    x = load_data(data, artifact.model_inputs(manifest)).x
    values = _execute(program, folder, on, encode_all(program, x), codes, time_limit)
    if codes:
        return dict(values)
    outputs = program.outputs
    if on != "sim":  # a target may hold the output's value under another name
        outputs = legalize(program, on, backend.load(on).capabilities).outputs
    decoded = {d.name: answer(d, values[d.value]) for d in outputs}
    return named(ending.answers(decoded, x, n_samples(x)))


def _execute(
    program: Program, folder: Path, on: str, codes: Mapping[str, Array], every: bool, time_limit: float
) -> Mapping[str, Array]:
    if on == "sim":
        return run_codes(program, codes, None if every else [d.value for d in program.outputs])
    target = backend.load(on)
    if not (folder / on).is_dir():
        raise fail("SFN604", f"the build holds no target {on!r}", str(folder), f"compile with --target {on}")
    why = target.available()
    if why is not None:
        raise fail("SFN601", why, on)
    wanted = None if every else frozenset(d.value for d in legalize(program, on, target.capabilities).outputs)
    # No golden integers: the target has to compute the whole network by itself, however long that takes.
    return target.run(folder / on, RunRequest(codes, {}, time_limit, wanted)).values


def evaluate(
    folder: Path, data: Path, samples: int | None = None, seed: int = 0, progress: Progress | None = None,
    on: str = "sim", time_limit: float = 1800.0,
) -> dict[str, Any]:  # fmt: skip
    """Return accuracy and agreement of float model and spiking network on ``data``, and write ``eval.json``.

    ``on``: the target that computes the spiking network; ``time_limit`` in seconds is for each piece of the data.
    """
    check_choice(samples, seed)
    manifest, program = artifact.open_build(folder)
    inputs = artifact.model_inputs(manifest)
    found = subset(load_data(data, inputs), samples, seed)
    ending = open_ending(folder, manifest, program)
    names, batch = [i.name for i in inputs], manifest["model"]["batch"]
    reference = reference_of(folder / "model.onnx", names, batch, program, ending)
    compute = None if on == "sim" else _computer(program, folder, on, time_limit)
    result = compare(program, reference, found.x, found.labels, progress, ending, compute)
    result["on"] = on
    result["data"] = {"source": found.source, "sha256": found.sha256, "samples": len(found), "seed": seed}
    artifact.write_json(folder / "eval.json", result)
    return result


def _computer(program: Program, folder: Path, on: str, time_limit: float) -> Compute:
    """Return what computes the outputs' integers on a target, by the names that they have in ``program``."""

    def compute(codes: Mapping[str, Array]) -> Mapping[str, Array]:
        values = _execute(program, folder, on, codes, False, time_limit)
        there = legalize(program, on, backend.load(on).capabilities).outputs
        return {d.value: values[t.value] for d, t in zip(program.outputs, there, strict=True)}

    return compute


def reference_of(
    path: Path, inputs: Sequence[str], batch: int | None, program: Program, ending: Ending
) -> FloatReference:
    """Return the float model to compare with; with a tail sample by sample, and with the values at the cut."""
    if ending.tail is None:
        return FloatReference(path, inputs, batch)
    known = original_names(path)
    return FloatReference(path, inputs, 1, [d.name for d in program.outputs if d.name in known])


def compare(
    program: Program, reference: FloatReference, x: Samples | Array, labels: Array | None = None,
    progress: Progress | None = None, ending: Ending | None = None, compute: Compute | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return ``{"outputs": agreement per output, "cut": ... per value that a host tail is fed, "accuracy": ... where
    labels are given}``; ``ending`` says how the model ends where it is not the network's own outputs, ``compute`` what
    computes the integers where it is not the simulator."""
    x = by_name(x, [e.name for e in program.inputs])
    batch = _BATCH if compute is None else _BATCH_ELSEWHERE
    ending = ending or Ending(tuple(d.name for d in program.outputs))
    n, scores, hits = n_samples(x), _scores(program, ending), _Hits()
    for start in range(0, n, batch):
        piece, size = part(x, slice(start, start + batch)), min(batch, n - start)
        want = reference.run(piece, ending.each)
        codes = encode_all(program, piece)
        values = compute(codes) if compute else run_codes(program, codes, [d.value for d in program.outputs])
        answers = ending.answers({d.name: answer(d, values[d.value]) for d in program.outputs}, piece, size)
        got = {**answers, **{d.name: decode(d, values[d.value]) for d in program.outputs}}
        for name, score in scores.items():
            if name in want:  # a value that only constant folding made is unknown to the file
                score.add(want[name], got[name])
        if labels is not None:
            first = ending.outputs[0]
            hits.add(labels[start : start + size], want[first], got[first], scores[first], first)
        if progress is not None:
            progress("evaluate", start + size, n)
    rows = {name: score.row() for name, score in scores.items() if score.n}
    result: dict[str, Any] = {"outputs": {name: rows.pop(name) for name in ending.outputs}}
    if ending.tail is not None:
        result["cut"] = rows
    if labels is not None:
        agreement = result["outputs"][ending.outputs[0]]["agreement"]
        result["accuracy"] = {"n": n, "float_top1": hits.float_hits / n, "snn_top1": hits.snn_hits / n,
                              "agreement": agreement}  # fmt: skip
    return result


def _scores(program: Program, ending: Ending) -> dict[str, Agreement]:
    scores = {d.name: Agreement(places=d.is_place) for d in program.outputs}
    if ending.tail is not None:
        for name, kind in ending.tail.kinds.items():
            scores[name] = Agreement(places=kind not in ("float", "double", "float16"), each=name in ending.each)
    return scores


@dataclass
class _Hits:
    float_hits: int = 0
    snn_hits: int = 0

    def add(self, labels: Array, want: Any, got: Any, score: Agreement, name: str) -> None:
        """Count the samples of which the first output names the class. Raises SFN307 where it names none."""
        if score.each or (score.places and want[0].size != 1):
            what = f"output {name!r} is not one class or one row of scores per sample"
            raise fail("SFN307", what, fix="leave the labels out")
        a, b = (np.asarray(y).reshape(len(labels), -1) for y in (want, got))
        if not score.places:
            _check_labels(labels, a.shape[1])
            a, b = top1(a)[:, None], top1(b)[:, None]
        self.float_hits += int((a[:, 0] == labels).sum())
        self.snn_hits += int((b[:, 0] == labels).sum())


def _check_labels(labels: Array, n_outputs: int) -> None:
    classes = max(n_outputs, 2)
    if labels.min() < 0 or labels.max() >= classes:
        what = f"labels run from {labels.min()} to {labels.max()}, the model has {classes} classes"
        raise fail("SFN307", what, fix="give labels in the model's own numbering")


def save_outputs(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays under their ONNX names as ``.npz``, in one step. Raises SFN602."""
    if path.is_dir():
        raise fail("SFN602", "cannot write: it is a folder", str(path), "name a file: -o answers.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.tmp")
        scratch.write_bytes(npz_bytes(dict(arrays)))
        scratch.replace(path)
    except OSError as error:
        raise fail("SFN602", f"cannot write: {error.strerror or error}", str(path)) from error
