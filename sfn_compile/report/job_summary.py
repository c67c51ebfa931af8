"""What a command found as a job of continuous integration shows it: JUnit XML, and Markdown for a summary.

Both are made of :class:`Check`: a target, a gate, a sealed file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from ..foundation.codes import CODES, EXIT_CHECK_FAILED
from ..foundation.diagnostics import Diagnostic
from .headlines import HEADLINES

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One thing that passed or did not. ``broken``: it could not be judged, which JUnit calls an error."""

    name: str
    passed: bool
    said: str = ""
    broken: bool = False


def checks_of(command: str, document: Found | None, problems: Sequence[Diagnostic]) -> list[Check]:
    """Return the checks of a command: of what it left, and the problems that none of those tells.

    ``document``: None where the command ended before it found anything.
    """
    found: list[Check] = []
    if document is not None and command == "verify":
        found = list(_of_targets(document))
    if document is not None and command == "eval":
        found = [Check(g["gate"], g["passed"], g["said"], g["value"] is None) for g in document["gates"]]
    if document is not None and command == "compile":
        found = [Check(f"target {n}", "refused" not in t, _refusal(t)) for n, t in document["targets"].items()]
    told = " ".join(f"{c.name} {c.said}" for c in found if not c.passed)
    found += [Check(f"{d.code} {d.where}".strip(), False, d.what, CODES[d.code].exit_code != EXIT_CHECK_FAILED)
              for d in problems if d.severity == "error" and d.what not in told and not _is_told(d, found)]  # fmt: skip
    return found or [Check(command, True)]


def _of_targets(proof: Found) -> Iterator[Check]:
    yield Check("sealed files", not proof["files_changed"], ", ".join(proof["files_changed"]))
    for name, row in proof["targets"].items():
        counts = f"{row['compared']:,} integers compared, {row['different']:,} different"
        yield Check(f"target {name}", row["proved"], row.get("error") or counts, row["mode"] is None)


def _refusal(row: Found) -> str:
    return "; ".join(f"{d['code']} {d['what']}" for d in row.get("refused", ()))


def _is_told(problem: Diagnostic, checks: Sequence[Check]) -> bool:
    """Return whether a problem is what a failed check says: of its gate, target or file."""
    failed = [c for c in checks if not c.passed]
    return any(
        problem.what.startswith(f"{c.name}:")
        or c.name == f"target {problem.where}"
        or (c.name == "sealed files" and problem.where in c.said.split(", "))
        for c in failed
    )


def junit(command: str, build: str, checks: Sequence[Check], seconds: float) -> str:
    """Return JUnit XML with one suite: a test case per check."""
    failures = sum(not c.passed and not c.broken for c in checks)
    errors = sum(not c.passed and c.broken for c in checks)
    counts = f'tests="{len(checks)}" failures="{failures}" errors="{errors}" time="{seconds:.3f}"'
    cases = [_case(command, build, check) for check in checks]
    suite = f'<testsuite name={quoteattr(f"sfnc {command}")} skipped="0" {counts}>'
    return "\n".join(('<?xml version="1.0" encoding="utf-8"?>', f"<testsuites {counts}>", suite, *cases,
                      "</testsuite>", "</testsuites>", ""))  # fmt: skip


def _case(command: str, build: str, check: Check) -> str:
    opened = f"<testcase classname={quoteattr(_clean(f'sfnc.{command}.{build}'))} name={quoteattr(_clean(check.name))}"
    if check.passed:
        return (
            f"{opened}/>"
            if not check.said
            else f"{opened}><system-out>{escape(_clean(check.said))}</system-out></testcase>"
        )
    kind = "error" if check.broken else "failure"
    return f"{opened}><{kind} message={quoteattr(_clean(check.said))}/></testcase>"


def _clean(text: str) -> str:
    """Return a text without the control characters that XML does not know."""
    return "".join(c if c >= " " or c in "\t\n" else "?" for c in text)


def markdown(command: str, build: str, document: Found | None, checks: Sequence[Check]) -> str:
    """Return the summary of a job in Markdown: the result, then a row per check."""
    good = all(check.passed for check in checks)
    said = HEADLINES[command](document) if document is not None else "; ".join(c.said for c in checks if not c.passed)
    rows = [f"| {'pass' if c.passed else '**FAIL**'} | {_cell(c.name)} | {_cell(c.said)} |" for c in checks]
    title = f"### {'✅' if good else '❌'} sfnc {command} {_cell(build)}"
    return "\n".join(
        (title, "", _cell(said), "", "| | check | |", "|---|---|---|", *rows, "", *_facts(command, document))
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _facts(command: str, document: Found | None) -> list[str]:
    """Return the tables behind the checks: the outputs of an evaluation, the warnings of a build."""
    if document is None or command not in ("eval", "compile"):
        return []
    lines = ["| output | agreement | signal to noise |", "|---|---|---|"]
    for name, row in {**document.get("cut", {}), **document["outputs"]}.items():
        agrees = "-" if row["agreement"] is None else f"{100 * row['agreement']:.2f} %"
        db = row.get("sqnr_db")
        lines.append(f"| {_cell(name)} | {agrees} | {'-' if db is None else f'{db:.1f} dB'} |")
    said = [f"* {w['code']} {_cell(w['where'])}: {_cell(w['what'])}" for w in document.get("warnings", ())]
    return [*lines, "", *(["Warnings:", "", *said, ""] if said else [])]
