"""The file that measured trials are kept in: one line of JSON each, so that a search that was ended goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.build_folder import dumps
from ..foundation.diagnostics import fail
from .trial import Measured, Trial

Facts = Mapping[str, Any]


@dataclass
class Journal:
    """Trials by number, as the file has them. The first line says which search it is of."""

    path: Path
    known: dict[int, tuple[Facts, Measured]] = field(default_factory=dict)

    @staticmethod
    def open(path: Path, search: Facts) -> Journal:
        """Return the journal of a search, a new one where there is no file. Raises SFN602, SFN703."""
        lines = _whole_lines(path)
        head = {"search": search}
        if lines and lines[0] != as_read(head):
            what = f"it belongs to another search: {_first_difference(lines[0], search)}"
            raise fail("SFN703", what, str(path), "delete it, or name another file with --search-state")
        journal = Journal(path)
        try:
            journal.known = {t["number"]: (t["options"], Measured.read(t)) for t in lines[1:]}
        except (KeyError, TypeError) as error:
            raise fail("SFN703", f"it holds no trials: {error!r}", str(path), "delete it") from error
        if not lines:
            journal._append(head)
        return journal

    def record(self, trial: Trial, options: Facts) -> None:
        """Keep a trial, on the disk before this returns."""
        self.known[trial.number] = options, trial.measured
        self._append({"number": trial.number, "options": options, **trial.measured.as_json()})

    def _append(self, line: Facts) -> None:
        text = json.dumps(as_read(line), sort_keys=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise fail("SFN602", f"cannot write: {error.strerror or error}", str(self.path)) from error


def _whole_lines(path: Path) -> list[Any]:
    """Return the lines of a file, and cut off a last one that was not written to its end. Raises SFN602, SFN703."""
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        return [json.loads(line) for line in whole.splitlines()]
    except OSError as error:
        raise fail("SFN602", f"cannot be used: {error.strerror or error}", str(path)) from error
    except ValueError as error:
        raise fail("SFN703", f"it is not the state of a search: {error}", str(path), "name another file") from error


def _first_difference(head: Any, search: Facts) -> str:
    there = head.get("search") if isinstance(head, dict) else None
    if not isinstance(there, dict):
        return "it says of none"
    here = as_read(search)
    name = next(k for k in sorted({*there, *here}) if there.get(k) != here.get(k))
    return f"{name} is {there.get(name)} there and {here.get(name)} here"


def as_read(facts: Facts) -> Any:
    """Return facts as they come back from JSON: lists for tuples, text for keys."""
    return json.loads(dumps(facts))
