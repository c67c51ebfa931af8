"""The page as a document: read from the files of a build, drawn section by section, written.

A view of ``report.json``, of what the manifest says of model and data, and of what later commands left. The same files
make the same bytes; no clock and no path is in it, and it needs no other file and no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from ...files import build_folder, program_files
from ...foundation.diagnostics import CompileError, fail
from .. import likeness, units
from . import charts
from .contents import SECTIONS
from .section import Known

FILE = "report.html"
LATER = tuple(dict.fromkeys(name for section in SECTIONS for name in section.reads))
AGAIN = "run its command again"
# Errors of a template where fields of a document are missing or of other types.
_NO_SUCH_FIELDS = (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


def write_page(folder: Path) -> Path:
    """Write the page of a build anew and return its path. Raises SFN503 where the folder is no build."""
    manifest, _ = build_folder.open_build(folder, "report")
    later = {name: _document(folder / f"{name}.json") for name in LATER}
    proof = later.get("proof")
    if proof is not None and proof.get("program") != manifest["files"]["program.npz"]:
        raise fail("SFN503", "proof.json is the proof of another build", str(folder), AGAIN)
    try:
        text = render(manifest, likeness.read_report(folder), later)
    except _NO_SUCH_FIELDS as error:
        there = ", ".join(f"{name}.json" for name, found in later.items() if found is not None)
        raise fail("SFN503", f"{there or 'report.json'} is damaged: {error}", str(folder), AGAIN) from error
    build_folder.write_text(folder / FILE, text)
    return folder / FILE


def refresh(folder: Path) -> None:
    """Write the page anew after a command has left its document.

    Where it cannot be shown (a sealed file was changed) the page says so, and no longer what was true before.
    """
    try:
        write_page(folder)
    except CompileError as error:
        page = _environment().get_template("broken.html.j2")
        build_folder.write_text(folder / FILE, page.render(name=folder.resolve().name, problems=error.diagnostics))


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
    facts: Mapping[str, Any], report: Mapping[str, Any], later: Mapping[str, Mapping[str, Any] | None] | None = None
) -> str:
    """Return the page; what its arguments are: :class:`~.section.Known`."""
    facts, report = (json.loads(build_folder.dumps(one)) for one in (facts, report))  # as read from their files
    known = Known(facts, report, later or {})
    drawn = []
    for section in SECTIONS:
        view = section.view(known)
        if view is not None:
            body = _environment().get_template(f"{section.name}.html.j2").render(**view)
            drawn.append({"name": section.name, "title": section.title, "body": Markup(body)})
    return _environment().get_template("page.html.j2").render(model=facts["model"], sections=drawn)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("sfn_compile", "report/page/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    of_units = ("energy", "number", "percent", "decibel", "ratio", "gained")
    made.filters |= {name: getattr(units, name) for name in of_units}
    made.filters["sort_db"] = charts.sort_key
    made.filters["bar"] = lambda share: Markup(charts.bar(share))
    return made
