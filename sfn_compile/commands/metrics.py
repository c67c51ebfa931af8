"""Metrics: what NeuroBench measures, of a build on samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.sources import data_of_build
from ..files import build_folder
from ..foundation.options import check_choice
from ..foundation.samples import n_samples
from ..host.codec import encode_all
from ..host.model_inputs import open_beginning
from ..report.neurobench import neurobench
from ..simulator.run import run_codes


def metrics(folder: Path, data: Any, samples: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return NeuroBench's metrics on samples of ``data``. Raises SFN503 for a folder that is no build."""
    check_choice(samples, seed)
    manifest, program = build_folder.open_build(folder)
    found = data_of_build(data, manifest, samples, seed)
    codes = encode_all(program, open_beginning(folder, manifest).samples(found.x))
    values = {**codes, **run_codes(program, codes)}
    return {"samples": n_samples(found.x), **neurobench(program, values)}
