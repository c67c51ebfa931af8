"""Is this data like that which the thresholds were chosen on? A few numbers per input and layer decide.

Of every sample, the mean and the spread of its input codes; over the samples, their mean and standard deviation. Data
is unlike the calibration data where either moves by more than samples differ from each other, beyond doubt; or where
far more codes of a layer lie at an end of their range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import program_files
from ..files.build_checks import REPORT, check_form
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.samples import Samples, n_samples, part
from ..host.codec import encode, encode_all
from ..program.network import Normalization, Population, Program, Readout
from ..simulator.run import run_codes

Array = NDArray[Any]
LOOKED_AT = 256  # samples of the inputs
RUN = 32  # samples whose layers are looked at
AT_A_TIME = 8
ENOUGH = 16  # fewer samples tell nothing
DEVIATIONS = 1.0  # between samples: how far a mean may move
STANDARD_ERRORS = 5.0
SPREADS = 0.1  # within a sample: moves below are none, however alike the samples are
MORE_AT_ENDS, TIMES_AT_ENDS = 0.05, 4.0


def spaced(x: Samples, most: int) -> dict[str, Array]:
    """Return at most ``most`` samples of every input ``(n, ...)``, evenly spaced: files are often sorted by class."""
    n = n_samples(x)
    return part(x, np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)))


def input_facts(program: Program, x: Samples) -> dict[str, dict[str, Any]]:
    """Return per input ``{samples, mean, spread}`` in codes, the latter two as (mean, deviation) over samples."""
    some = spaced(x, LOOKED_AT)
    found = {}
    for encoding in program.inputs:
        rows = [_of_samples(encode(encoding, some[encoding.name][i : i + AT_A_TIME]))
                for i in range(0, n_samples(some), AT_A_TIME)]  # fmt: skip
        means, spreads = np.concatenate(rows, axis=1)
        found[encoding.name] = {
            "samples": len(means), "mean": [float(means.mean()), float(means.std())],
            "spread": [float(spreads.mean()), float(spreads.std())],
        }  # fmt: skip
    return found


def _of_samples(codes: Array) -> Array:
    flat = codes.reshape(len(codes), -1)
    return np.stack([flat.mean(axis=1), flat.std(axis=1)])


def unlike_inputs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Diagnostic]:
    """Return SFN311 for every input whose samples differ from those of calibration."""
    found = []
    for name, a in then.items():
        b = now.get(name)
        if b is None or min(a["samples"], b["samples"]) < ENOUGH:
            continue
        moved = [what for what in ("mean", "spread") if _moved(a[what], b[what], a, b)]
        if moved:
            what = " and ".join(
                f"the {w} of a sample is {b[w][0]:.3g} codes, {a[w][0]:.3g} (+-{a[w][1]:.2g}) at calibration"
                for w in moved
            )
            found.append(Diagnostic("SFN311", what, f"input {name!r}", "prepare both alike, or calibrate on such data"))
    return found


def _moved(a: Sequence[float], b: Sequence[float], then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    error = float(np.sqrt(a[1] ** 2 / then["samples"] + b[1] ** 2 / now["samples"]))
    limit = max(DEVIATIONS * a[1], STANDARD_ERRORS * error, SPREADS * then["spread"][0], 1e-9)
    return abs(a[0] - b[0]) > limit


def at_ends(program: Program, x: Samples) -> dict[str, float]:
    """Return the share of codes at an end of the range of every population that fires."""
    some, info = spaced(x, RUN), program.values()
    fires = [s.name for s in program.steps if isinstance(s, Population | Normalization)
             and not isinstance(s.ladder, Readout)]  # fmt: skip
    found = dict.fromkeys(fires, 0.0)
    for i in range(0, n_samples(some), AT_A_TIME):
        piece = part(some, slice(i, i + AT_A_TIME))
        values = run_codes(program, encode_all(program, piece), keep=fires)
        for name in fires:
            lo, hi, codes = info[name].lo, info[name].hi, values[name]
            ends = np.count_nonzero(codes == hi) + (np.count_nonzero(codes == lo) if lo < 0 else 0)
            found[name] += ends / codes[0].size / n_samples(some)
    return found


def unlike_layers(rows: Sequence[Mapping[str, Any]], now: Mapping[str, float]) -> list[Diagnostic]:
    """Return one SFN311 naming the first layer with far more codes at an end than at calibration, if there is one."""
    then = {row["name"]: row["saturation"] for row in rows}
    more = [n for n, share in now.items() if n in then and share > TIMES_AT_ENDS * then[n] + MORE_AT_ENDS]
    if not more:
        return []
    first = more[0]
    others = f" (and {len(more) - 1} more layers)" if len(more) > 1 else ""
    what = (
        f"{100 * now[first]:.1f} % of its codes lie at an end of their range, {100 * then[first]:.1f} % at calibration"
    )
    return [Diagnostic("SFN311", what + others, first, "prepare both alike, or calibrate on such data")]


def data_warnings(folder: Path, program: Program, x: Samples) -> list[Diagnostic]:
    """Return what to say of samples beside those that a build was calibrated on; nothing where too few tell nothing."""
    report = read_report(folder)
    if "calibration" not in report or n_samples(x) < ENOUGH:
        return []
    then = report["calibration"]["inputs"]
    if not then:  # a network that states its own levels: nothing was chosen on any samples
        return []
    unlike = unlike_inputs(then, input_facts(program, x))
    return unlike + unlike_layers(report["layers"], at_ends(program, x))


def read_report(folder: Path) -> dict[str, Any]:
    """Return ``report.json`` of a build, empty where it is gone: it holds no part of the network. Raises SFN503."""
    file = folder / "report.json"
    try:
        found: dict[str, Any] = program_files.read_json(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"report.json cannot be read: {error}", str(folder), "compile again") from error
    check_form(found, REPORT, "report.json")
    return found
