"""Gates: limits on what is measured of a build beside its float network; for eval, compile, a search and tests alike.

A gate passes or fails on a number. Where the number was not measured (no labels, no scores) a gate does not pass: it
cannot be judged, which is a problem of its own (SFN509).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..foundation.declaration import Option, check_options, option, options_of
from ..foundation.diagnostics import Diagnostic, fail
from ..report.scores import score_of
from .summary import least_of_outputs

Found: TypeAlias = Mapping[str, Any]  # what `eval.json` holds
NO_LABELS = "there are no labels to compare with"
SHARE = "A share up to 1, or percent above 1."


def read_share(given: Any) -> float | None:
    """Return a share of 0..1 of what is given as one, or in percent where it is above 1: 99.5 is 0.995.

    Nobody asks for one percent at least, so nothing is lost. Raises SFN605 for what is no number.
    """
    if given is None:
        return None
    try:
        number = float(given.rstrip(" %") if isinstance(given, str) else given)
    except (TypeError, ValueError):
        raise fail("SFN605", f"{given!r}; a share (0.995) or percent (99.5) is needed") from None
    return number / 100 if number > 1 or (isinstance(given, str) and "%" in given) else number


@dataclass(frozen=True)
class Gates:
    """The limits that were asked for; None: none. Shares lie in 0..1."""

    # fmt: off
    max_drop: float | None = option(
        None, "Fail if the score (top-1, mAP, mIoU) falls by more points below the float network's.", metavar="PTS")
    min_accuracy: float | None = option(
        None, f"Fail if the spiking network's top-1 is below this. {SHARE}", metavar="PCT", lowest=0, highest=1,
        read=read_share)
    min_agreement: float | None = option(
        None, f"Fail if fewer samples are answered as by the float network. {SHARE}", metavar="PCT", lowest=0,
        highest=1, read=read_share)
    min_sqnr: float | None = option(
        None, "Fail if the signal to noise of an output is below this.", metavar="DB")
    min_map: float | None = option(
        None, f"Fail if the mean average precision at 0.5 is below this. {SHARE}", metavar="PCT", lowest=0, highest=1,
        read=read_share)
    min_iou: float | None = option(
        None, f"Fail if the mean intersection over union is below this. {SHARE}", metavar="PCT", lowest=0, highest=1,
        read=read_share)
    max_rmse: float | None = option(
        None, "Fail if the error of a regression (RMSE against the targets) is above this.", metavar="X", lowest=0)
    # fmt: on

    def check(self) -> Gates:
        """Return self. Raises SFN605 for a limit out of range."""
        check_options(self)
        return self

    @property
    def asked(self) -> dict[str, float]:
        """The limits that were asked for, by the names of the options."""
        return {o.name: limit for o in options_of(Gates) if (limit := getattr(self, o.field)) is not None}

    @property
    def need_labels(self) -> list[str]:
        """The flags of those that are asked for and need labels."""
        flags = {o.name: o.flag for o in options_of(Gates)}
        return [flags[name] for name in self.asked if RULES[name].needs_labels]

    def judge(self, found: Found) -> list[dict[str, Any]]:
        """Return a row per gate: ``{gate, value, limit, passed, said}``; ``value`` is null where there is no number."""
        options = {o.name: o for o in options_of(Gates)}
        return [_judged(options[name], RULES[name], limit, found) for name, limit in self.asked.items()]


NO_GATES = Gates()


@dataclass(frozen=True)
class Value:
    """A number that a gate looks at, None where there is none; ``said``: in words; ``exact``: no error at all, which
    passes every gate on signal to noise."""

    number: float | None
    said: str
    exact: bool = False


@dataclass(frozen=True)
class Rule:
    """How a gate is judged: ``value`` of what was found; ``above``: it must not be above the limit, else not below."""

    value: Callable[[Found], Value]
    shown: Callable[[float], str]
    above: bool = False
    needs_labels: bool = False

    def passes(self, value: Value, limit: float) -> bool:
        """Return whether a value keeps the limit."""
        if value.number is None:
            return value.exact
        number = round(value.number, 9)  # shares are quotients: 3 of 100 more is 3.0000000000000027 points
        return number <= limit if self.above else number >= limit


def _judged(option: Option, rule: Rule, limit: float, found: Found) -> dict[str, Any]:
    value = rule.value(found)
    asked = f"at most {rule.shown(limit)} allowed" if rule.above else f"at least {rule.shown(limit)} asked for"
    said = value.said if value.number is None and not value.exact else f"{value.said}, {asked}"
    return {"gate": option.flag, "value": value.number, "limit": limit, "passed": rule.passes(value, limit),
            "said": said}  # fmt: skip


def require_labels(gates: Gates, labels: Any, source: str) -> None:
    """Raise SFN307 where a gate needs labels and the data has none."""
    if labels is None and gates.need_labels:
        raise fail("SFN307", f"{gates.need_labels[0]} needs labels beside the samples", source,
                   "add an array `labels`: one class per sample")  # fmt: skip


def problems(rows: Sequence[Mapping[str, Any]], where: str, fix: str = "") -> list[Diagnostic]:
    """Return SFN502 for every gate that failed, SFN509 for every one that could not be judged; ``where``: the data."""
    return [
        Diagnostic("SFN509", f"{row['gate']}: {row['said']}", where)
        if row["value"] is None
        else Diagnostic("SFN502", f"{row['gate']}: {row['said']}", where, fix)
        for row in rows
        if not row["passed"]
    ]


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.2f} %"


def points(drop: float) -> str:
    """Return a difference of shares in points."""
    return f"{drop:g} point{'' if drop == 1 else 's'}"


def _decibel(db: float) -> str:
    return f"{db:g} dB"


def _drop(found: Found) -> Value:
    score = score_of(found)
    if score is None:
        why = "labels of a regression have no score" if "regression" in found else NO_LABELS
        return Value(None, f"no drop was measured: {why}")
    name, before, after = score
    drop = 100 * (before - after)
    verb = "fell" if after < before else "went"
    return Value(drop, f"{name} {verb} from {percent(before)} to {percent(after)}: {drop:.2f} points")


def _accuracy(found: Found) -> Value:
    if "accuracy" not in found:
        return Value(None, f"no accuracy was measured: {NO_LABELS}")
    return Value(found["accuracy"]["snn_top1"], f"top-1 is {percent(found['accuracy']['snn_top1'])}")


def _agreement(found: Found) -> Value:
    share = least_of_outputs(found)["agreement"]
    if share is None and "accuracy" in found:
        share = found["accuracy"]["agreement"]
    if share is None:
        why = next((w for row in found["outputs"].values() if (w := row.get("reasons", {}).get("agreement"))), "none")
        return Value(None, f"no agreement was measured: {why}")
    return Value(share, f"{percent(share)} of the answers are the float network's")


def _sqnr(found: Found) -> Value:
    least = least_of_outputs(found)
    if least["exact"]:
        return Value(None, "the outputs are exact", exact=True)
    if least["sqnr_db"] is None:
        return Value(None, "no signal to noise was measured: no output has one")
    return Value(least["sqnr_db"], f"signal to noise is {least['sqnr_db']:.2f} dB")


def _rmse(found: Found) -> Value:
    if found.get("regression", {}).get("snn_rmse") is None:
        return Value(None, "no error of a regression was measured: there are no targets")
    rmse = found["regression"]["snn_rmse"]
    return Value(rmse, f"RMSE is {rmse:.5g}, the float network's {found['regression']['float_rmse']:.5g}")


def _of_task(name: str, key: str) -> Callable[[Found], Value]:
    """Return what reads a score of the spiking network from the result of a task, a share."""

    def value(found: Found) -> Value:
        row = found.get(name, {})
        if row.get(f"snn_{key}") is None:
            return Value(None, f"no {key} was measured: the task is not {name}")
        return Value(row[f"snn_{key}"], f"{key} is {percent(row[f'snn_{key}'])}")

    return value


RULES: dict[str, Rule] = {
    "max_drop": Rule(_drop, points, above=True, needs_labels=True),
    "min_accuracy": Rule(_accuracy, percent, needs_labels=True),
    "min_agreement": Rule(_agreement, percent),
    "min_sqnr": Rule(_sqnr, _decibel),
    "min_map": Rule(_of_task("detection", "map50"), percent),
    "min_iou": Rule(_of_task("segmentation", "miou"), percent),
    "max_rmse": Rule(_rmse, "{:g}".format, above=True, needs_labels=True),
}
