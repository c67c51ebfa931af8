"""``report.html``: everything known of a build on one page that needs no other file and no network.

A view of ``report.json``, of what the manifest says of model and data, and of ``eval.json``, ``proof.json`` and
``bisect.json`` where those commands left them. The same files make the same bytes; no clock and no path is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from ..files import build_folder, program_files
from ..foundation.codes import CODES
from ..foundation.diagnostics import fail
from . import charts
from .likeness import read_report
from .units import decibel, energy, gained, number, percent, ratio

FILE = "report.html"
LATER = ("eval", "proof", "bisect")  # commands whose documents are shown once they are there
AGAIN = "run its command again"
# What a template meets in a document whose fields are missing or of other types.
_NO_SUCH_FIELDS = (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


def write_page(folder: Path) -> Path:
    """Write the page of a build anew and return its path. Raises SFN503 where the folder is no build."""
    manifest, _ = build_folder.open_build(folder, "report")
    later = {name: _document(folder / f"{name}.json") for name in LATER}
    if later["proof"] is not None and later["proof"].get("program") != manifest["files"]["program.npz"]:
        raise fail("SFN503", "proof.json is the proof of another build", str(folder), AGAIN)
    try:
        text = render(manifest, read_report(folder), **later)
    except _NO_SUCH_FIELDS as error:
        there = ", ".join(f"{name}.json" for name, found in later.items() if found is not None)
        raise fail("SFN503", f"{there or 'report.json'} is damaged: {error}", str(folder), AGAIN) from error
    build_folder.write_text(folder / FILE, text)
    return folder / FILE


def _document(path: Path) -> dict[str, Any] | None:
    """Return a JSON file, None where it is not there. Raises SFN503 where it cannot be read."""
    if not path.is_file():
        return None
    try:
        found = program_files.read_json(path)
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"{path.name} is damaged: {error}", str(path), AGAIN) from error
    if not isinstance(found, dict):
        raise fail("SFN503", f"{path.name} is damaged: it is no object", str(path), AGAIN)
    return found


def render(
    facts: Mapping[str, Any], report: Mapping[str, Any], eval: Mapping[str, Any] | None = None,
    proof: Mapping[str, Any] | None = None, bisect: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Return the page. ``facts``: model, calibration, options and versions as in ``manifest.json``."""
    facts, report = (json.loads(build_folder.dumps(one)) for one in (facts, report))  # as read from their files
    page = _environment().get_template("page.html.j2")
    return page.render(
        model=facts["model"], versions=facts["versions"], options=facts["options"], data=facts["calibration"],
        report=report, eval=eval, proof=proof, bisect=bisect, warnings=_warnings(report, eval),
        chart=Markup(charts.errors(report["layers"])),
        histograms=[Markup(charts.histogram(r["histogram"], r["lo"] or 0)) for r in report["layers"]],
    )  # fmt: skip


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("sfn_compile", "report/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"energy": energy, "number": number, "percent": percent, "decibel": decibel, "ratio": ratio,
                     "gained": gained, "bar": lambda share: Markup(charts.bar(share))}  # fmt: skip
    return made


def _warnings(report: Mapping[str, Any], found: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return all warnings as ``{code, where, what}``: of data, of layers, of the data that was evaluated."""
    said = [dict(w) for w in (*report["warnings"], *((found or {}).get("warnings", ())))]
    for row in report["layers"]:
        said += [
            {"code": w["code"], "where": f"layer {row['name']!r}",
             "what": f"{CODES[w['code']].title}: {percent(w['value'])}, more than {percent(w['limit'])}"}
            for w in row["warnings"]
        ]  # fmt: skip
    return said
