"""The file that measured trials are kept in: one line of JSON each, so that a search that was ended can continue."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.atomic_files import disk
from ..files.build_folder import dumps
from ..foundation.diagnostics import fail
from .trial import Measured, Trial

Facts = Mapping[str, Any]
HEAD, TRIAL = b'{"search": {', b'{"costs": {'  # how the lines of the two kinds begin: their keys are sorted
OTHER = "name another file with --search-state"


@dataclass
class Journal:
    """Trials by number, as the file has them. The first line says which search it is of."""

    path: Path
    known: dict[int, tuple[Facts, Measured]] = field(default_factory=dict)
    unfinished: bytes = b""  # the end of the file where a line was not written to its end; the next one replaces it

    @staticmethod
    def open(path: Path, search: Facts) -> Journal:
        """Return the journal of a search, a new one where there is no file. Raises SFN602, SFN703."""
        lines, unfinished = _read(path)
        head = {"search": search}
        if not lines and not _line(head).startswith(unfinished):
            raise fail("SFN703", "it is not the state of a search", str(path), OTHER)
        if lines and lines[0] != as_read(head):
            what = f"it belongs to another search: {_first_difference(lines[0], search)}"
            raise fail("SFN703", what, str(path), "delete it, or name another file with --search-state")
        journal = Journal(path, unfinished=unfinished)
        try:
            journal.known = {t["number"]: (t["options"], Measured.read(t)) for t in lines[1:]}
        except (KeyError, TypeError, ValueError) as error:
            raise fail("SFN703", f"it holds no trials: {error!r}", str(path), "delete it") from error
        if not lines:
            journal._append(head)
        return journal

    def record(self, trial: Trial, options: Facts) -> None:
        """Keep a trial, on the disk before this returns."""
        self.known[trial.number] = options, trial.measured
        self._append({"number": trial.number, "options": options, **trial.measured.as_json()})

    def _append(self, line: Facts) -> None:
        with disk(self.path, OTHER):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if self.unfinished and self.path.read_bytes().endswith(self.unfinished):
                    file.truncate(file.tell() - len(self.unfinished))
                self.unfinished = b""
                file.write(_line(line))
                file.flush()
                os.fsync(file.fileno())


def _line(facts: Facts) -> bytes:
    return (json.dumps(as_read(facts), sort_keys=True) + "\n").encode()


def require_state(path: Path, out: Path) -> None:
    """Check that measured trials can be kept in ``path``. Raises SFN605 where it lies in ``out``, which is replaced as
    a whole; SFN602, SFN703 where it exists and is not the state of a search."""
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(out)):
        raise fail("SFN605", f"--search-state {path} lies in {out}, which is replaced as a whole", fix=OTHER)
    _read(path)


def _read(path: Path) -> tuple[list[Any], bytes]:
    """Return the lines of a state, and the beginning of a last one that was not written to its end.

    Nothing is written. Raises SFN602, and SFN703 where the file is not the state of a search.
    """
    if not path.exists():
        return [], b""
    try:
        content = path.read_bytes()
        n_whole = content.rfind(b"\n") + 1
        lines = [json.loads(line) for line in content[:n_whole].splitlines()]
    except OSError as error:
        raise fail("SFN602", f"cannot be used: {error.strerror or error}", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise fail("SFN703", f"it is not the state of a search: {error}", str(path), OTHER) from error
    unfinished = content[n_whole:]
    if (lines and not _is_head(lines[0])) or not _begins(unfinished, TRIAL if lines else HEAD):
        raise fail("SFN703", "it is not the state of a search", str(path), OTHER)
    return lines, unfinished


def _is_head(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("search"), dict)


def _begins(content: bytes, start: bytes) -> bool:
    """Return whether one of the two starts with the other."""
    return content.startswith(start) or start.startswith(content)


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
