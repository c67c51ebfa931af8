"""Run and evaluate a build: integers in the Program, real numbers decoded, the float model beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import artifact, backend
from .backend import RunRequest
from .config import check_choice
from .data import load_data, subset
from .diagnostics import fail
from .execute import run_codes
from .frontend.reference import FloatReference
from .host import decode, encode
from .legalize import legalize
from .program import Program
from .report.measure import decibel
from .serialize import npz_bytes

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
_BATCH = 64


def run_build(
    folder: Path, data: Path, on: str = "sim", codes: bool = False, time_limit: float = 1800.0
) -> dict[str, Array]:
    """Return the outputs ``(n, ...)`` of a build on a target, by ONNX output name.

    ``codes``: the raw integers of every population and the input instead of decoded real outputs.
    """
    manifest, program = artifact.open_build(folder)
    model = manifest["model"]
    x = load_data(data, model["input"], tuple(model["shape"]), model["dtype"]).x
    values = _execute(program, folder, on, {e.value: encode(e, x) for e in program.inputs}, codes, time_limit)
    if codes:
        return dict(values)
    outputs = program.outputs
    if on != "sim":  # a target may hold the output's value under another name
        outputs = legalize(program, on, backend.load(on).capabilities).outputs
    return {d.name: decode(d, values[d.value]).astype(np.float32) for d in outputs}


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
    folder: Path, data: Path, samples: int | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Return accuracy and agreement of float model and spiking network on ``data``, and write ``eval.json``."""
    check_choice(samples, seed)
    manifest, program = artifact.open_build(folder)
    model = manifest["model"]
    found = subset(load_data(data, model["input"], tuple(model["shape"]), model["dtype"]), samples, seed)
    reference = FloatReference(folder / "model.onnx", model["input"], model["batch"])
    result = compare(program, reference, found.x, found.labels, progress)
    result["data"] = {"source": found.source, "sha256": found.sha256, "samples": len(found.x), "seed": seed}
    artifact.write_json(folder / "eval.json", result)
    return result


def compare(
    program: Program, reference: FloatReference, x: Array, labels: Array | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Return ``{"outputs": per output agreement, sqnr_db, max_error; "accuracy": ... where labels are given}``."""
    sums = {d.name: {"signal": 0.0, "noise": 0.0, "max_error": 0.0, "agree": 0} for d in program.outputs}
    float_hits = snn_hits = 0
    for start in range(0, len(x), _BATCH):
        piece = x[start : start + _BATCH]
        want = reference.run(piece)
        codes = {e.value: encode(e, piece) for e in program.inputs}
        values = run_codes(program, codes, [d.value for d in program.outputs])
        for i, d in enumerate(program.outputs):
            a = want[d.name].reshape(len(piece), -1).astype(np.float64)
            b = decode(d, values[d.value]).reshape(len(piece), -1)
            tops = _top1(a), _top1(b)
            _add(sums[d.name], a, b, tops)
            if i == 0 and labels is not None:
                truth = labels[start : start + len(piece)]
                _check_labels(truth, a.shape[1])
                float_hits += int((tops[0] == truth).sum())
                snn_hits += int((tops[1] == truth).sum())
        if progress is not None:
            progress("evaluate", min(start + _BATCH, len(x)), len(x))
    n = len(x)
    outputs = {
        name: {
            "agreement": v["agree"] / n,
            "sqnr_db": decibel(v["signal"], v["noise"]),
            "max_error": v["max_error"],
        }
        for name, v in sums.items()
    }
    result: dict[str, Any] = {"outputs": outputs}
    if labels is not None:
        first = outputs[program.outputs[0].name]
        result["accuracy"] = {"n": n, "float_top1": float_hits / n, "snn_top1": snn_hits / n,
                              "agreement": first["agreement"]}  # fmt: skip
    return result


def _top1(y: Array) -> Array:
    """Return the class: the largest output, or whether a single output passes one half."""
    return y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)


def _check_labels(labels: Array, n_outputs: int) -> None:
    classes = max(n_outputs, 2)
    if labels.min() < 0 or labels.max() >= classes:
        what = f"labels run from {labels.min()} to {labels.max()}, the model has {classes} classes"
        raise fail("SFN307", what, fix="give labels in the model's own numbering")


def _add(total: dict[str, Any], a: Array, b: Array, tops: tuple[Array, Array]) -> None:
    total["signal"] += float((a**2).sum())
    total["noise"] += float(((a - b) ** 2).sum())
    total["max_error"] = max(total["max_error"], float(np.abs(a - b).max()))
    total["agree"] += int((tops[0] == tops[1]).sum())


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
