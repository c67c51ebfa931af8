"""Options of targets: a back end declares its own, under its name in the entry-point group ``sfnc.options``.

The entry point leads to a tuple of :class:`.declaration.Option` with ``name``, ``default`` and ``help``, in
a module that imports nothing heavy: ``sfnc compile --help`` reads it without importing the back end. Outside the back
end an option is called ``TARGET.NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..foundation.declaration import Option, unknown
from ..foundation.diagnostics import CompileError, fail

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "sfnc.options"
SPELLING = re.compile(r"--?[a-z][a-z0-9_-]*")


def declared(target: str) -> tuple[Option, ...]:
    """Return the options of one target, by default none. Raises SFN604 where they cannot be read."""
    return _read(target, [e for e in _entries() if e.name == target])


def declared_by_all() -> tuple[dict[str, Option], list[str]]:
    """Return the options of all installed targets as ``TARGET.NAME``, target by target, and what could not be read."""
    entries: dict[str, list[EntryPoint]] = {}
    for entry in _entries():
        entries.setdefault(entry.name, []).append(entry)
    found: dict[str, Option] = {}
    problems = []
    for target in sorted(entries):
        try:
            found |= {f"{target}.{o.name}": o for o in _read(target, entries[target])}
        except CompileError as error:
            problems.append(error.diagnostics[0].what)
    return found, problems


def _entries() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and most commands need no target

    return list(entry_points(group=GROUP))


def _read(target: str, entries: list[EntryPoint]) -> tuple[Option, ...]:
    owners = {e.value for e in entries}
    if len(owners) > 1:
        raise fail("SFN604", f"options of target {target!r} are declared by several packages: {sorted(owners)}")
    try:
        return tuple(_sound(o) for o in entries[0].load()) if entries else ()
    except Exception as error:  # a package of somebody else: whatever it raises, the other targets work
        raise fail("SFN604", f"the options of target {target!r} cannot be read: {error!r}", entries[0].value) from error


def _sound(declared: Option) -> Option:
    """Return an option of a back end. Raises ValueError, SFN605 for one that no command line could take."""
    for spelling in (f"--{declared.name}", *declared.flags):
        if not SPELLING.fullmatch(spelling):
            raise ValueError(f"{spelling!r} cannot be the name of an option")
    declared.check(declared.default)
    return declared


def resolved(targets: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option of the targets, as ``TARGET.NAME``: what was given, else its default.

    Raises SFN605 for a name that no target has, a target that is not compiled for and a value that is not accepted.
    """
    known = {f"{target}.{o.name}": o for target in dict.fromkeys(targets) for o in declared(target)}
    for name in given:
        if name not in known:
            raise _not_there(name, known)
    return {name: _value(name, o, given[name]) if name in given else o.default for name, o in known.items()}


def own(target: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one target by their own names."""
    return {name.removeprefix(f"{target}."): v for name, v in values.items() if name.startswith(f"{target}.")}


def _value(name: str, declared: Option, given: Any) -> Any:
    said = f"--target-option {name}"
    value = declared.parsed(given, said) if isinstance(given, str) else declared.taken(given)
    declared.check(value, said)
    return value


def _not_there(name: str, known: Mapping[str, Option]) -> CompileError:
    everywhere, _ = declared_by_all()
    if name not in everywhere:
        return unknown(name, everywhere, "target option")
    target = name.partition(".")[0]
    fix = f"add {target} to --target, or leave the option out"
    return fail("SFN605", f"--target-option {name}: {target} is not among the targets", fix=fix)
