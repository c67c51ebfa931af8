"""Sweep: one network built with several options and measured on the same data, as rows of a table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from ..compiler.compilation import silent
from ..compiler.draft import Progress
from ..evaluation.summary import least_of_outputs
from ..foundation.diagnostics import CompileError
from ..foundation.options import Options
from ..report.scores import score_of
from .build import build
from .evaluate import evaluate

COLUMNS = ("levels", "method", "weight_bits", "refused", "score", "float", "spiking", "agreement", "sqnr_db", "neurons",
           "weights", "synops", "energy_pj", "energy_to_quantised")  # fmt: skip


def sweep(
    model: Path, options: Options, data: Any, levels: Sequence[int], methods: Sequence[str],
    weight_bits: Sequence[int], calib: Any = None, input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    samples: int | None = None, progress: Progress = silent,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield a row (:data:`COLUMNS`) per combination, each built in a folder that is thrown away and evaluated.

    A combination that is refused has the code in ``refused`` and no numbers.
    """
    asked = list(product(methods, weight_bits, levels))
    for i, (method, bits, n) in enumerate(asked):
        progress("sweep", i, len(asked))
        one = replace(options, levels=n, method=method, weight_bits=bits, targets=("sim",)).check()
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"levels": n, "method": method, "weight_bits": bits}
        with tempfile.TemporaryDirectory(prefix="sfnc-") as scratch:
            try:
                yield row | _measured(Path(scratch) / "out", model, one, data, calib, dict(input_shapes or {}), samples)
            except CompileError as error:
                if error.exit_code != 1 and error.diagnostics[0].code[:4] not in ("SFN4",):
                    raise  # the model or the data, not the options
                yield row | {"refused": error.diagnostics[0].code}
    progress("sweep", len(asked), len(asked))


def _measured(
    out: Path, model: Path, options: Options, data: Any, calib: Any, shapes: dict[str, tuple[int, ...]],
    samples: int | None,
) -> dict[str, Any]:  # fmt: skip
    report = build(model, out, options, calib, shapes).report
    found = evaluate(out, data, samples)
    score, least, totals = score_of(found), least_of_outputs(found), report["totals"]
    energy = report["energy"]["totals"]
    return {
        "score": score[0] if score else None, "float": score[1] if score else None,
        "spiking": score[2] if score else None, "agreement": least["agreement"], "sqnr_db": least["sqnr_db"],
        "neurons": totals["neurons"], "weights": totals["weights"], "synops": totals["synops"],
        "energy_pj": energy["integer"]["E4"], "energy_to_quantised": energy["to_matched"]["E4"],
    }  # fmt: skip
