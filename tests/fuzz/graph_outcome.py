"""What becomes of a random graph: built and proved, refused with a code, or BAD with what was wrong."""

from __future__ import annotations

import math
import random
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from sfn_compile.commands.build import build
from sfn_compile.commands.evaluate import evaluate
from sfn_compile.commands.verify import verify
from sfn_compile.files.build_folder import open_build
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.program.network import Program

from .random_graphs import RandomGraph, random_graph

CHOICES: tuple[dict[str, Any], ...] = (
    {}, {}, {"levels": 255}, {"levels": 255}, {"levels": 7, "reconstruct": False}, {"levels": 1, "reconstruct": False},
    {"granularity": "tensor"}, {"granularity": "tensor", "equalize": True}, {"threshold": "pow2"},
    {"method": "minmax", "levels": 16}, {"method": "sfn"}, {"method": "percentile"}, {"carry": False},
    {"attention": "fired"}, {"weight_bits": 4, "reconstruct": False}, {"digit_share": 1.0, "reconstruct": False},
    {"levels": 5, "epochs": 1}, {"fine_share": 0.3, "reconstruct": False}, {"input_levels": 15},
)  # fmt: skip
OF_THE_INPUT = (3, 4)  # exit statuses: the model cannot be compiled, or does not fit the target
PLEASE_REPORT = ("SFN107", "SFN108", "SFN901")  # say that sfnc itself is wrong, or a file hostile: no graph here is
MARGIN_DB = 3.0  # of an output below its row in the report, on the same samples


def outcome(seed: int, folder: Path, make: Callable[[int], RandomGraph] = random_graph) -> str:
    """Return what became of the graph of a number, made and compiled in ``folder``: a word, then details."""
    graph, rng = make(seed), random.Random(seed)
    model, data = folder / "model.onnx", folder / "calib.npz"
    onnx.save(graph.model, model)
    np.savez(data, **graph.calibration)
    options = options_of(graph, rng)
    try:
        return _built(model, folder / "out", options, data if rng.random() < 0.85 else None, data)
    except CompileError as error:
        return _refused(error)
    except Exception as error:  # whatever it is, it is what this campaign looks for
        return f"BAD {_said(error)}"


def options_of(graph: RandomGraph, rng: random.Random) -> Options:
    """Return the options that the graph of a number is compiled with."""
    one_input = len(graph.model.graph.input) == 1
    nir = one_input and rng.random() < 0.3
    form = rng.choice(["binary", "unary", "sar"])
    return Options(
        **rng.choice(CHOICES), targets=("sim", "onnx", *(["nir"] if nir else [])),
        target_options={"nir.form": form} if nir else {},
    )  # fmt: skip


def _built(model: Path, out: Path, options: Options, calib: Path | None, data: Path) -> str:
    made = build(model, out, options, calib)
    notes = [f"{name} {_refused(error)}" for name, error in made.refusals.items()]
    bad = [n for n in notes if "BAD" in n]
    with patch("sfn_backends.nir.witnesses.interpreter", return_value=None):  # stock readers take seconds to start
        proof = verify(out)
    bad += [f"proof: {d}" for d in proof.problems]
    if calib is not None and "SFN308" not in {w["code"] for w in made.report["warnings"]}:
        bad += _far_below(made.report, open_build(out)[1], evaluate(out, data)["outputs"])
    if bad:
        return f"BAD {'; '.join(bad)}"
    return "; ".join(["built", *notes])


def _refused(error: CompileError) -> str:
    """Return what a refusal says; BAD where it says that sfnc is wrong, or ends with another status."""
    codes = sorted({d.code for d in error.diagnostics})
    fair = error.exit_code in OF_THE_INPUT and not set(codes) & set(PLEASE_REPORT)
    return f"{'refused' if fair else 'BAD'} {' '.join(codes)}: {error.diagnostics[0]}"


def _far_below(report: dict[str, Any], program: Program, outputs: dict[str, Any]) -> list[str]:
    """Return the outputs whose signal to noise falls below that of their row in the report, the same numbers."""
    rows = {row["name"]: row["sqnr_accumulated_db"] for row in report["layers"]}
    info = program.values()
    found = []
    for decoding in program.outputs:
        said, got = rows.get(decoding.value), outputs.get(decoding.name, {}).get("sqnr_db")
        whole = not decoding.joined and math.prod(decoding.shape) == math.prod(info[decoding.value].shape)
        same = whole and all(op.kind == "move" for op in decoding.host)
        if same and said is not None and got is not None and got < min(said, 100) - MARGIN_DB:
            found.append(f"output {decoding.name} has {got:.1f} dB, the report says {said:.1f}")
    return found


def _said(error: Exception) -> str:
    """Return an exception with the last of our own lines that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "sfn_compile" in f.filename or "sfn_backends" in f.filename][-2:]
    lines = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(ours))
    return f"{type(error).__name__}: {str(error)[:200]} at {lines}"
