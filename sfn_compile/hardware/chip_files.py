"""Chips read from TOML: those of the package by name, a user's own by path; what is wrong in one is said by its key.

A file may say ``extends = "loihi2"`` and state what differs. A board is named behind a colon: ``loihi2:kapoho-point``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from ..foundation.diagnostics import CompileError, fail
from .chip import BlockMemory, Board, Chip, Confidence, Count, Extra, Figure, Listed, Named, WordMemory

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
MEMORIES = {"words": WordMemory, "blocks": BlockMemory}
LEAST = {Count: 1, Extra: 0}
FORMS: dict[Any, str] = {
    Count: "value = a whole number from 1 on", Extra: "value = a whole number from 0 on",
    Figure: "value = a number, or low = and high = two numbers in order, from 0 on",
    Listed: "values = [1, 2, ...]", Named: 'names = ["...", ...]',
}  # fmt: skip
MOST_EXTENDED = 8  # files that extend one another
Made = TypeVar("Made")
Json = Mapping[str, Any]


def names() -> list[str]:
    """Return the names of the chips in the package, sorted."""
    return sorted(p.name.removesuffix(".toml") for p in _package().iterdir() if p.name.endswith(".toml"))


def load_chip(asked: str) -> Chip:
    """Return the chip called ``NAME``, ``FILE.toml``, or either with ``:BOARD`` behind it.

    Raises SFN605 where there is no such chip or board, SFN409 where the file is not as it must be.
    """
    name, board = _asked(asked)
    chip = _chip(_read(name), name)
    if not board:
        return chip
    found = next((b for b in chip.boards if b.name == board), None)
    if found is None:
        raise _unknown(
            f"--hardware {asked!r}: {chip.name} has no board {board!r}", board, [b.name for b in chip.boards]
        )
    return replace(chip, board=found)


def _asked(asked: str) -> tuple[str, str]:
    """Return file or name, and the board behind a colon; a colon in a folder's name is none of ours."""
    name, colon, board = asked.rpartition(":")
    return (name, board) if colon and not set("/\\") & set(board) and not board.endswith(".toml") else (asked, "")


def _package() -> Any:
    return files("sfn_compile.hardware") / "chips"


def _read(name: str, depth: int = 0) -> Json:
    """Return the document of a chip, merged over the one that it extends."""
    found = _parsed(name)
    base = found.get("extends")
    if base is None:
        return found
    if not isinstance(base, str) or depth >= MOST_EXTENDED:
        raise _wrong(name, "extends", "it must name a chip, and not in a circle")
    beside = Path(name).parent / base if base.endswith(".toml") else Path(base)
    return _merged(_read(str(beside), depth + 1), {k: v for k, v in found.items() if k != "extends"})


def _parsed(name: str) -> Json:
    is_file = name.endswith(".toml")
    if not is_file and name not in names():
        raise _unknown(f"--hardware {name!r}: no chip of that name", name, names())
    try:
        text = Path(name).read_text(encoding="utf-8") if is_file else (_package() / f"{name}.toml").read_text("utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        raise fail(
            "SFN605", f"--hardware {name}: {error.strerror}", fix=f"a file, or one of {', '.join(names())}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(name, "", f"it is not TOML: {error}") from error
    if found.get("format") != FORMAT:
        raise _wrong(name, "format", f"{found.get('format')!r}; this version reads format = {FORMAT}")
    return found


def _merged(base: Json, own: Json) -> Json:
    """Return ``base`` with the numbers of ``own`` in their places: a number is replaced whole, a table is merged."""
    both = dict(base)
    for key, value in own.items():
        old = both.get(key)
        is_table = isinstance(old, dict) and isinstance(value, dict) and not _is_figure(value) and not _is_figure(old)
        both[key] = _merged(old, value) if is_table and old is not None else value
    return both


def _is_figure(table: Json) -> bool:
    return bool({"value", "low", "high", "values", "names", "source", "confidence"} & table.keys())


def _chip(found: Json, file: str) -> Chip:
    found = {key: value for key, value in found.items() if key != "format"}
    memory = found.get("memory")
    if not isinstance(memory, dict) or memory.get("kind") not in MEMORIES:
        raise _wrong(file, "memory.kind", f"one of {', '.join(MEMORIES)} is needed")
    inner = {key: value for key, value in memory.items() if key != "kind"}
    return _table(Chip, {"note": "", **found}, file, "", {"memory": (MEMORIES[memory["kind"]], inner)})


def _table(
    kind: type[Made], found: Any, file: str, at: str, given: Mapping[str, tuple[type, Any]] | None = None
) -> Made:
    """Return the dataclass ``kind`` of a TOML table; ``given``: fields whose class the file chose, and their tables."""
    if not isinstance(found, dict):
        raise _wrong(file, at, "a table is needed")
    hints, given = get_type_hints(kind), given or {}
    declared = {f.name: f.default is MISSING for f in fields(kind)}  # type: ignore[arg-type]
    known = [name for name, needed in declared.items() if needed]
    for key in found:
        if key not in known:
            raise _wrong(file, _below(at, key), _near("there is no such key", key, known))
    for key in known:
        if key not in found:
            raise _wrong(file, _below(at, key), "it is missing")
    made = {}
    for key in known:
        inner, value = given.get(key, (hints[key], found[key]))
        made[key] = _value(inner, value, file, _below(at, key))
    return kind(**made)


def _value(kind: Any, found: Any, file: str, at: str) -> Any:
    if kind is str:
        if not isinstance(found, str):
            raise _wrong(file, at, "a text is needed")
        return found
    if kind in FORMS:
        return _figure(kind, found, file, at)
    if get_args(kind):  # a tuple of tables
        if not isinstance(found, list) or not found:
            raise _wrong(file, at, f"at least one table [[{at}]] is needed")
        return tuple(_table(Board, one, file, f"{at}[{i}]") for i, one in enumerate(found))
    return _table(kind, found, file, at)


def _figure(kind: Any, found: Any, file: str, at: str) -> Any:
    """Return a number with its source. Raises SFN409 for one without, or of another form."""
    if not isinstance(found, dict):
        raise _wrong(file, at, 'a number is written as { value = ..., source = "...", confidence = "..." }')
    source, confidence = found.get("source"), cast(Confidence, found.get("confidence"))
    if not isinstance(source, str) or not source.strip():
        raise _wrong(file, at, "it has no source: say who states it")
    if confidence not in get_args(Confidence):
        raise _wrong(file, at, f"confidence {confidence!r}; one of {', '.join(get_args(Confidence))} is needed")
    keys = set(found) - {"source", "confidence"}
    if kind is Listed and keys == {"values"} and _whole(found["values"]):
        return Listed(tuple(sorted(found["values"])), source, confidence)
    if kind is Named and keys == {"names"} and isinstance(found["names"], list):
        return Named(tuple(map(str, found["names"])), source, confidence)
    if kind is Figure and keys in ({"value"}, {"low", "high"}):
        low, high = (found["value"],) * 2 if "value" in keys else (found["low"], found["high"])
        if all(_number(x) for x in (low, high)) and 0 <= low <= high:
            return Figure(low, high, source, confidence)
    if kind in LEAST and keys == {"value"} and _whole([found["value"]], LEAST[kind]):
        return kind(found["value"], source, confidence)
    raise _wrong(file, at, f"beside source and confidence {FORMS[kind]} is needed")


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def _whole(x: Any, least: int = 1) -> bool:
    return isinstance(x, list) and bool(x) and all(type(v) is int and v >= least for v in x)


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _near(what: str, key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key, list(known), 1, 0.6)
    return f"{what}; {near[0]!r} is one" if near else what


def _wrong(file: str, at: str, what: str) -> CompileError:
    return fail("SFN409", f"{at}: {what}" if at else what, file, "docs/chips.md shows a whole file")


def _unknown(what: str, name: str, known: list[str]) -> CompileError:
    near = get_close_matches(name, known, 1, 0.5)
    listed = f"there are: {', '.join(known)}"
    return fail("SFN605", what, fix=f"{near[0]}? {listed}" if near else f"{listed}, or a file that ends in .toml")
