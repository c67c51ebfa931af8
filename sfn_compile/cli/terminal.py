"""What a person reads on the terminal. Results are written to standard output, progress bars to standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..foundation.codes import CODES
from ..foundation.decibel import NO_ERROR
from ..report.headlines import of_bisection, of_build, of_evaluation, of_proof
from ..report.time_words import step_lines, time_lines
from ..report.units import decibel, energy, gained, ratio
from .fitted_table import Column, fitted
from .plain_lines import first_of, host_lines, kept_aside_line
from .task_lines import task_lines

if TYPE_CHECKING:
    from ..commands.build import Built


PROOF_COLUMNS = (Column("target"), Column("executed by", 1), Column("mode", 2), Column("samples", 3),
                 Column("layers", 4), Column("integers compared"), Column("different"))  # fmt: skip
BISECTION_COLUMNS = (Column("layer"), Column("SQNR own", 1), Column("with all before"), Column("rounding", 3),
                     Column("cut off", 4), Column("weights", 2), Column("outputs, spiking to here"))  # fmt: skip


class _Printer(RichConsole):
    """Leaves a closed pipe to the command line, which ends quietly."""

    def on_broken_pipe(self) -> None:
        """Raise what the system raised."""
        raise


class Console:
    """Prints results as tables; ``quiet`` prints nothing."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        # Without a terminal the width is fixed, so that logs do not depend on where they were made.
        self.out = _Printer(quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else 118)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """Yield a function ``(stage, done, total)`` that draws a progress bar where there is a terminal."""
        shown = not self.quiet and sys.stderr.isatty()
        columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=RichConsole(stderr=True), disable=not shown, transient=True) as bar:
            tasks: dict[str, Any] = {}

            def update(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    for earlier in tasks.values():  # it ended where this one begins
                        bar.update(earlier, visible=False)
                    # What is one step has no share that could be shown: its bar moves to and fro.
                    tasks[stage] = bar.add_task(stage, total=None if total == 1 else total)
                bar.update(tasks[stage], completed=done, visible=True)

            yield update

    def build(self, built: Built) -> None:
        """Print the layers, the totals, and where the files are."""
        report = built.report
        self.out.print(of_build(report, built.folder))
        outputs = {**report.get("cut", {}), **report["outputs"]}
        self.out.print(_layer_table(report["layers"], outputs, self.out.width))
        if report["attention"]:
            self.out.print(_attention_table(report["attention"]))
        if "search" in report:
            self.out.print(_front_table(report["search"]))
            self.out.print(search_line(report["search"]))
        total = report["totals"]
        self.out.print(
            f"{report['coverage']['mapped']} of {report['coverage']['nodes']} ONNX nodes mapped; "
            f"{total['neurons']:,} neurons in {total['populations']} populations, {total['weights']:,} weights, "
            f"{total['synops']:,.0f} synaptic operations per sample ({total['macs']:,} MACs in the float network)"
        )
        for line in filter(None, map(_correction_line, report["corrections"])):
            self.out.print(line)
        self.out.print(_energy_table(report["energy"]["totals"], self.out.width))
        for line in _warning_lines(report["layers"]):
            self.out.print(line)
        for line in host_lines(report["host_head"], report["host_tail"]):
            self.out.print(line)
        for name, target in report["targets"].items():
            state = "refused" if "refused" in target else f"{target['files']} files, {target['bytes'] / 1e6:.2f} MB"
            self.out.print(f"target {name:5} {state}")
        self.out.print(kept_aside_line(report["kept_aside"]))
        self.out.print(f"written to {built.folder}/   next: sfnc verify {built.folder}")

    def proof(self, document: Mapping[str, Any]) -> None:
        """Print one line per target and per reader."""
        self.out.print(of_proof(document))
        rows = []
        for name, t in document["targets"].items():
            cells = [t.get("executed_by") or t.get("error", ""), t.get("mode") or "not executed", t["samples"],
                     t.get("layers", 0), f"{t['compared']:,}", t["different"] if t.get("mode") else "-"]  # fmt: skip
            rows.append([name, *map(str, cells)])
            for r in t.get("readers", ()):
                wrong = r.get("error") or str(r.get("different"))
                rows.append(["", f"{r['name']} {r.get('version', '')}", "stock reader", str(r.get("samples", 0)),
                             str(r.get("layers", "")), f"{r.get('compared', 0):,}", wrong])  # fmt: skip
        table = fitted(PROOF_COLUMNS, rows, self.out.width)
        self.out.print(table)
        for name, t in document["targets"].items():
            for note in t.get("notes", ()):
                self.out.print(f"{name}: {note}")
        for line in time_lines(document):
            self.out.print(line)
        if document["files_changed"]:
            self.out.print(f"not as compile wrote it: {', '.join(document['files_changed'])}")
        lacking = [name for name, t in document["targets"].items() if not t["proved"]]
        if lacking:
            self.out.print(f"not proved: {', '.join(lacking)}")

    def evaluation(self, found: Mapping[str, Any]) -> None:
        """Print accuracy and agreement, and how the gates ended."""
        self.out.print(of_evaluation(found))
        if "accuracy" in found:
            a = found["accuracy"]
            what = "of the labelled positions right" if "places" in a else "top-1"
            self.out.print(f"float network    {100 * a['float_top1']:6.2f} % {what} on {a['n']} samples (onnxruntime)")
            lost = gained(a["float_top1"], a["snn_top1"])
            self.out.print(f"spiking network  {100 * a['snn_top1']:6.2f} % {what}, {lost}")
        for line in step_lines(found):
            self.out.print(line)
        if found.get("regression", {}).get("float_rmse") is not None:
            for line in _regression_lines(found["regression"]):
                self.out.print(line)
        for line in task_lines(found):
            self.out.print(line)
        for name, o in {**found.get("cut", {}), **found["outputs"]}.items():
            kind = "value at the cut" if name in found.get("cut", {}) else "output"
            shapes = f" ({100 * o['same_shape']:.2f} % have the same shape)" if "same_shape" in o else ""
            if "max_error" not in o:
                self.out.print(f"{kind} {name}: the same in {100 * o['agreement']:.2f} % of the samples{shapes}")
                continue
            self.out.print(f"{kind} {name}{shapes}: {', '.join(_errors(o))}")
            if "not_finite" in o:
                odd = o["not_finite"]
                self.out.print(f"{kind} {name}: not finite in {odd['samples']} samples (float network "
                               f"{odd['float']}, spiking network {odd['spiking']}), which no error counts")  # fmt: skip

    def bisection(self, found: Mapping[str, Any]) -> None:
        """Print where the network was cut, every layer's error, and the answer."""
        self.out.print(of_bisection(found))
        rows = []
        shown = {p["up_to"]: decibel(p["output_db"], unit=" dB") for p in found["probes"]}
        for row in found["layers"]:
            mark = "» " if row["name"] == found["layer"] else ""
            whole = (decibel(row[f"{part}_db"]) for part in ("own", "accumulated"))
            parts = (decibel(row[f"{part}_db"], "") for part in ("rounding", "cut", "weights"))
            rows.append([mark + _short(row["name"], 34), *whole, *parts, shown.get(row["name"], "")])
        table = fitted(BISECTION_COLUMNS, rows, self.out.width)
        self.out.print(table)
        if found["within"]:
            best = decibel(found["output_db"], unit=" dB")
            self.out.print(f"signal to noise of the outputs: {best}; {found['limit_db']:g} dB are asked for")


def _errors(row: Mapping[str, Any]) -> list[str]:
    """Return what is said of an output of real numbers; of a number that is none, why."""
    why = row.get("reasons", {})
    same = f"{100 * row['agreement']:.2f} %" if row["agreement"] is not None else f"not given ({why['agreement']})"
    snr = decibel(row["sqnr_db"], unit=" dB") if row["sqnr_db"] is not None else why["sqnr_db"]
    found = [f"agreement {same}", f"signal to noise {snr}" if row["sqnr_db"] is not None else snr]
    if "worst_channel" in row:
        worst = row["worst_channel"]
        found.append(f"of channel {worst['channel']} {decibel(worst['sqnr_db'], unit=' dB')}")
    return [*found, f"largest error {row['max_error']:.4g}"] if row["max_error"] is not None else found


def _front_table(found: Mapping[str, Any]) -> Table:
    """Return the trials that no other beats, cheapest first, and beside them the plain compilation and the chosen."""
    trials, cost = {t["number"]: t for t in found["trials"]}, found["cost"]
    table = Table("trial", found["objective"], cost, "of plain", "levels", "stretch", "")
    plain = trials[0]["costs"][cost]
    numbers = dict.fromkeys((*found["front"], found["chosen"], 0))
    for t in sorted((trials[n] for n in numbers), key=lambda t: (t["costs"][cost], t["number"])):
        said = [what for what, holds in (("plain", t["number"] == 0), ("chosen", t["number"] == found["chosen"]),
                                         ("over the budget", not t["feasible"])) if holds]  # fmt: skip
        sites = [t["options"].get("sites", {}).get(site, {}) for group in found["groups"] for site in group]
        levels, stretch = ([s[key] for s in sites if key in s] for key in ("levels", "stretch"))
        here = t["costs"][cost]
        table.add_row(str(t["number"]), f"{t['objective']:.5g}", f"{here:,.0f}", f"{100 * here / plain:.0f} %",
                      _ends(levels), _ends(stretch), ", ".join(said))  # fmt: skip
    return table


def _ends(values: list[float]) -> str:
    return _span(min(values), max(values)) if values else ""  # type: ignore[arg-type]


def search_line(found: Mapping[str, Any]) -> str:
    """Return the line that says what a search did, and how the network that was built of it measures."""
    where, made = found["measured_on"], found["made"]
    limits = ", ".join(f"{name} up to {limit['limit']:,.6g}" for name, limit in found["budget"].items()) or "no budget"
    return (
        f"search {found['strategy']}, {len(found['trials'])} trials on {where['samples']} held-out samples, {limits}; "
        f"trial {found['chosen']} was built: {found['objective']} {made['scores'][found['objective']]:.5g}, "
        f"{found['cost']} {made['costs'][found['cost']]:,.0f} per sample"
    )


def _correction_line(row: Mapping[str, Any]) -> str:
    """Return what a correction did to the outputs, or why it did nothing; "" for one without words."""
    from ..compiler.corrections import CORRECTIONS

    one = next(one for one in CORRECTIONS if one.name == row["correction"])
    what = "weights rounded with feedback" if row.get("kept") == "fitted" else one.does
    if not what:
        return ""
    if row.get("kept") == "before":
        return f"{one.does_not}: {row['reason']}"
    sites = f" ({first_of(row['sites'])})" if "sites" in row else ""
    before, after = (row[f"outputs_db_{when}"] for when in ("before", "after"))
    if before is None and after is None:
        return f"{what}{sites}"
    first, then = decibel(before), decibel(after, unit=" dB")
    changed = f"from {first} to {then}" if decibel(before, unit=" dB") != then else f"as before, {then}"
    return f"{what}{sites}: outputs {changed}"


def _attention_table(rows: list[dict[str, Any]]) -> Table:
    """Return the softmaxes: shares of their codes, how much one place takes, and what was cut around them."""
    titles = "softmax", "shape", "codes: 0", "quarters", "places per row", "largest weight", "saturated: q, k, v, out"
    table = Table()
    for title in titles:
        table.add_column(title, no_wrap=True)
    for r in rows:
        zero, *quarters = (f"{100 * s:.0f}" for s in r["distribution"])
        cut = ", ".join(f"{100 * s:.1f}" for s in r["saturation"].values())
        table.add_row(_short(r["softmax"], 24), "x".join(map(str, r["shape"])), f"{zero} %",
                      f"{' '.join(quarters)} %", f"{r['places']:.1f}", f"{r['cap']:.2f}", f"{cut} %")  # fmt: skip
    return table


ESTIMATED = (("E1", "events", "events"), ("E2", "spikes", "unary spikes"), ("E3", "set_bits", "set bits"),
             ("E4", "events", "events, small multiplications"))  # fmt: skip


ENERGY_COLUMNS = (Column("estimate"), Column("per sample", 2), Column("as in literature", 3), Column("to float", 4),
                  Column("in integers"), Column("to the same, quantised"))  # fmt: skip


def _energy_table(totals: Mapping[str, Any], width: int) -> Table:
    """Return the four prices beside the float network and the equally quantised one; details are in ``report.html``."""
    rows = []
    for price, count, what in ESTIMATED:
        literature = energy(totals["literature"][price]) if price in totals["literature"] else "-"
        to_float, to_matched = (ratio(totals[name].get(price)) for name in ("to_float", "to_matched"))
        rows.append([f"{price} {what}", f"{totals[count]:,.0f}", literature, to_float,
                     energy(totals["integer"][price]), to_matched])  # fmt: skip
    return fitted(ENERGY_COLUMNS, rows, width)


def _warning_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return one line per code of the layers' warnings, with the layers that it concerns."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for warning in row["warnings"]:
            found.setdefault(warning["code"], []).append(row["name"])
    return [f"{code} {CODES[code].title}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
            for code, names in found.items()]  # fmt: skip


def _regression_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the error of both networks against real targets."""
    lines = []
    for name, title in (("float", "float network  "), ("snn", "spiking network")):
        r2 = found[f"{name}_r2"]
        said = "targets do not vary" if r2 is None else f"R2 {r2:.4f}"
        lines.append(f"{title}  rmse {found[f'{name}_rmse']:.5g} against the targets, {said}")
    return [f"{lines[0]}, on {found['n']} samples (onnxruntime)", *lines[1:]]


def _output_row(name: str, row: Mapping[str, Any]) -> list[str]:
    """Return the row of an output: how often it agrees, and its signal to noise with all errors."""
    agrees = "" if row["agreement"] is None else f"agrees {100 * row['agreement']:.1f} %"
    snr = decibel(row["sqnr_db"], row.get("reasons", {}).get("sqnr_db", "")) if "sqnr_db" in row else "-"
    return [_short(f"output {name}", 17), agrees, *[""] * 6, f"- / {snr} dB" if snr[0].isdigit() else f"- / {snr}"]


def _both(row: Mapping[str, Any]) -> str:
    """Return the signal to noise of a layer's own levels, and with all before it."""
    why = row.get("reasons", {})
    here, both = (decibel(row[name], why.get(name, NO_ERROR)) for name in ("sqnr_db", "sqnr_accumulated_db"))
    return f"{here} / {both}" + (" dB" if any(c.isdigit() for c in here + both) else "")


LAYER_COLUMNS = (
    Column("population"), Column("from ONNX node", 6), Column("shape", 2), Column("codes", 1), Column("theta", 7),
    Column("acc bits", 4), Column("w bits", 5), Column("density", 3), Column("SQNR here/all"),
)  # fmt: skip


def _layer_table(rows: list[dict[str, Any]], outputs: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    """Return the populations; "SQNR here" is what the codes of a layer cost, "all" what has come together up to it."""
    cells = []
    for r in rows:
        origin = r["origin"][0] if r["origin"] else ""
        more = f" +{len(r['origin']) - 1}" if len(r["origin"]) > 1 else ""
        theta = "table" if r["kind"] in ("table", "exponential") else _span(r.get("theta_min"), r.get("theta_max"))
        cells.append([
            _short(r["name"], 17), _short(origin.rpartition(" (")[0] or origin, 17) + more,
            "x".join(map(str, r["shape"])), _codes(r), theta,
            str(r["acc_bits"] or ""), str(r["weight_bits"] or ""), f"{100 * r['density']:.0f} %",
            _both(r),
        ])  # fmt: skip
    return fitted(LAYER_COLUMNS, cells, width, [_output_row(name, row) for name, row in outputs.items()])


def _codes(row: Mapping[str, Any]) -> str:
    """Return the codes of a population; of a book how many there are, and the lowest and highest."""
    if row["lo"] is None:
        return "acc"
    book = row.get("codes")
    return f"{row['lo']}..{row['hi']}" if book is None else f"{len(book)}: {row['lo']}..{row['hi']}"


def _span(lo: int | None, hi: int | None) -> str:
    return "" if lo is None else str(lo) if lo == hi else f"{lo}..{hi}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[-width + 1 :]
