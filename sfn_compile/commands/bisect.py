"""Bisect: the first layer where the spiking network leaves the float model, what its error is made of, what to change.

Half of a network can be integers: its first k layers spike, and the rest computes in floats with what they hand on. The
error at the outputs grows from none (k = 0) to that of the build (k = all). The layer at which it passes the limit is
found by halving; if one layer before it added most of that error, it is that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner
from ..compiler.compilation import silent, structured
from ..compiler.draft import Progress
from ..compiler.input_encoding import encoded_as
from ..compiler.tail_survey import read_network
from ..data.sources import data_of_build
from ..evaluation import causes
from ..evaluation.half_network import Halves, Piece
from ..files import build_folder
from ..files.build_checks import check_scales, options_of
from ..files.sample_files import Data, of_frames, subset
from ..foundation.decibel import decibel
from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.options import BISECT_LIMIT, check_choice
from ..foundation.preparation import Given
from ..foundation.samples import n_samples, part
from ..frontend import load_model
from ..graph.graph import Graph
from ..host.codec import encode_all
from ..host.model_inputs import open_beginning
from ..passes.mapping.split_digits import SplitDigits
from ..program.network import Normalization, Population, Program, SecondDigit, Step
from ..report.likeness import data_warnings, read_report
from ..report.page.document import refresh
from ..simulator.run import run_codes, single_threaded_blas

Array = NDArray[Any]
DEFAULT_SAMPLES = 32
HELD = 64_000_000  # numbers of the float network that are held, 8 bytes each
FEW_SAMPLES = 100


@dataclass
class Bisection:
    """What :func:`bisect` found; ``document`` is ``bisect.json``, ``problems`` SFN504 where the network leaves."""

    document: dict[str, Any]
    problems: list[Diagnostic] = field(default_factory=list)


def bisect(
    folder: Path,
    data: Path | Given,
    samples: int | None = None,
    seed: int = 0,
    limit: float = BISECT_LIMIT,
    progress: Progress = silent,
) -> Bisection:
    """Return the first layer that takes the outputs further from the float model than ``limit`` dB, and write
    ``bisect.json``.

    ``samples`` of ``data`` (default 32, fewer of a large network). Raises SFN503 where the folder is no build and
    SFN505 where its float network cannot be made again; SFN605 for a ``limit`` that is no number.
    """
    check_choice(samples, seed)
    if not np.isfinite(limit):
        raise fail("SFN605", f"--limit {limit}; it must be a number of decibels")
    manifest, program = build_folder.open_build(folder, "model", "scales", "report")
    found = data_of_build(data, manifest, progress=progress)
    found = found if program.frames is None else of_frames(found)
    program = program.at_once()  # an error that time adds is no layer's
    found = replace(found, x=open_beginning(folder, manifest).samples(found.x))
    warnings = data_warnings(folder, program, found.x)
    with single_threaded_blas():
        some = subset(found, samples or DEFAULT_SAMPLES, seed)
        halves = _halves(folder, manifest, program, some, progress)
        document = _searched(halves, manifest, limit, warnings, read_report(folder), progress)
    document["data"] = {"source": found.source, "sha256": found.sha256, "seed": seed,
                        "samples": sum(len(p.codes[halves.sites[0]]) for p in halves.pieces)}  # fmt: skip
    document["warnings"] = [w.as_dict() for w in warnings]
    build_folder.write_json(folder / "bisect.json", document)
    refresh(folder)
    return Bisection(document, [] if document["within"] else [_problem(document)])


def _halves(folder: Path, manifest: Mapping[str, Any], program: Program, data: Data, progress: Progress) -> Halves:
    """Return both networks on the samples, every layer of each."""
    loaded, plain = _float_network(folder, manifest)
    plain = encoded_as(plain, program)
    graph = SplitDigits({first: radix for first, (_, radix) in program.second_digits().items()}).run(plain).graph
    unit = build_folder.load_scales(folder, manifest)
    check_scales(unit, program)
    _check_same(graph, program, unit, folder)
    runner = FloatRunner(graph, folder / "model.onnx", loaded.batch, loaded.input_names)
    size = sum(int(np.prod(t.shape)) for t in graph.types().values())
    x = part(data.x, slice(max(1, HELD // size)))
    pieces, start = [], 0
    for n, real, _ in runner.stream(x):
        codes = run_codes(program, encode_all(program, part(x, slice(start, start + n))))
        pieces.append(Piece({name: real[name] for name in graph.types()}, codes))
        start += n
        progress("both networks", start, n_samples(x))
    sites = [i.name for i in graph.inputs]
    sites += [s.name for s in program.steps if _is_layer(s)]
    said = read_report(folder).get("layers", [])
    offsets = {row["name"]: row["offset"] for row in said if row.get("offset") is not None}
    return Halves(graph, program, unit, pieces, sites, offsets)


def _is_layer(step: Step) -> bool:
    """Return whether a step is fired, and not the second digit of another."""
    return isinstance(step, Normalization) or (
        isinstance(step, Population) and not isinstance(step.relation, SecondDigit)
    )


def _float_network(folder: Path, manifest: Mapping[str, Any]) -> tuple[Any, Graph]:
    """Return the model of a build, read again, and its structure as compile made it."""
    shapes = {i.name: (1, *i.shape) for i in build_folder.model_inputs(manifest)}
    try:
        options = options_of(manifest)
        loaded, graph = read_network(load_model(folder / "model.onnx", shapes), options.start, options.end)
        return loaded, structured(graph, options)
    except CompileError as error:
        raise fail("SFN505", str(error), str(folder / "model.onnx"), "compile again") from error


def _check_same(graph: Graph, program: Program, unit: Mapping[str, Array], folder: Path) -> None:
    """Raise SFN505 unless every value of the Program is in the graph, made of the same values."""
    want = [(s.name, set(s.sources), s.shape) for s in program.steps]  # a value may be read several times there
    have = [(n.name, set(n.inputs), n.type.shape) for n in graph.nodes]
    different = next((w or h for w, h in zip_longest(want, have) if w != h), None)
    if different is None and set(program.values()) <= unit.keys():
        return
    name = different[0] if different else "what their integers stand for"
    raise fail("SFN505", f"the layers differ, first at {name!r}", str(folder), "compile again with this version")


def _searched(
    halves: Halves, manifest: Mapping[str, Any], limit: float, warnings: Sequence[Diagnostic], said: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Return the document of a search."""
    noises: dict[int, float] = {0: 0.0}
    most_probes = 2 * len(halves.sites).bit_length() + 4  # two searches by halving, and the ends

    def noise(k: int) -> float:
        if k not in noises:
            progress("half networks", len(noises), most_probes)
            noises[k] = halves.noise(k)
        return noises[k]

    n, most = len(halves.sites), 10 ** (-limit / 10)
    document: dict[str, Any] = {"limit_db": limit, "within": noise(n) <= most, "layer": None}
    if not document["within"]:
        at, is_alone = _first(noise, n, most)
        document |= _named(halves, halves.sites[at - 1], manifest, is_alone, warnings, said)
    document["output_db"] = decibel(1.0, noises[n])
    document["probes"] = [{"spiking": k, "up_to": halves.sites[k - 1], "output_db": decibel(1.0, noises[k])}
                          for k in sorted(noises) if k]  # fmt: skip
    document["layers"] = []
    for i, name in enumerate(halves.sites, 1):
        document["layers"].append({"name": name, **halves.parts(name).row()})
        progress("error of every layer", i, n)
    return document


def _first(noise: Callable[[int], float], n: int, most: float) -> tuple[int, bool]:
    """Return how many layers spike where the network leaves, and whether its last one alone did most of that.

    ``noise(k)`` is at most ``most`` at 0 and above it at ``n``.
    """
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if noise(middle) > most else (middle, high)
    crossing = high
    if noise(crossing) - noise(crossing - 1) > noise(crossing) / 2:
        return crossing, True
    low, high = 0, crossing - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if noise(middle) - noise(low) >= noise(high) - noise(middle) else (middle, high)
    is_alone = high > low and noise(high) - noise(low) > noise(crossing) / 2
    return (high, True) if is_alone else (crossing, False)


def _named(
    halves: Halves,
    name: str,
    manifest: Mapping[str, Any],
    is_alone: bool,
    warnings: Sequence[Diagnostic],
    said: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is said of the layer where the network leaves the float model."""
    parts, step, book = halves.parts(name), halves.step(name), halves.book(name)
    kind = "input" if step is None else "layer"
    levels = 0 if book is None else int(book[-1] - book[0])
    is_calibrated = bool(said.get("calibration", {}).get("inputs", True))  # else its levels are its own
    is_unlike = any(w.code == "SFN311" for w in warnings)
    cause = causes.cause_of(parts, levels, is_unlike)
    if not is_alone and cause != "data":
        cause = "accumulated"
    tries = causes.advice(cause, name, kind, levels, parts, manifest["options"],
                          manifest["calibration"]["samples"])  # fmt: skip
    if is_calibrated and manifest["calibration"]["samples"] < FEW_SAMPLES and cause != "data":
        tries.append(f"calibrate on more than {manifest['calibration']['samples']} samples: 512 are a good number")
    return {"layer": name, "origin": list(step.origin.nodes) if step is not None else [], "cause": cause,
            "try": tries, "levels": levels, "parts": parts.row()}  # fmt: skip


SAID = {
    "levels": "its {levels} levels are too few: rounding makes most of its error",
    "step": "its step is too large: values reach {reach:.2g} of {levels} codes",
    "saturation": "its values are cut off: {beyond:.1f} % lie beyond the last of {levels} codes, up to {reach:.2g}",
    "data": "its values are cut off ({beyond:.1f} % lie beyond the last code), on data unlike the calibration data",
    "weights": "its integer weights are too coarse",
    "dead": "channels that are not 0 in the float network never fire",
    "accumulated": "no layer alone: the error of those before it adds up",
}


def _problem(document: Mapping[str, Any]) -> Diagnostic:
    parts = document["parts"]
    said = SAID[document["cause"]].format(levels=document["levels"], reach=parts["reach"], beyond=100 * parts["beyond"])
    origin = f" ({document['origin'][0]})" if document["origin"] else ""
    at = "no number of" if document["output_db"] is None else f"{document['output_db']:.1f}"
    what = f"with it the outputs are at {at} dB, {document['limit_db']:g} are asked for; {said}"
    return Diagnostic("SFN504", what, f"layer {document['layer']!r}{origin}", "; ".join(document["try"]))
