"""What an option is, said once: command line, Python signature, documents, manifest and JSON Schema are made from it.

An option of the compiler is a field of a frozen dataclass, made by :func:`option`; an option of a target is an
:class:`Option` with a name and a default (:mod:`sfn_compile.targets.target_options`). Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .diagnostics import CompileError, fail

GROUPS = ("input", "images", "events", "accuracy", "hardware", "time", "targets", "search", "output")
SCALARS = {int: "an integer", float: "a number", bool: "True or False", str: "a text", Path: "a path"}
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Option:
    """One option. What is left empty is made from the rest.

    ``help``: what it does, for a terminal; ``note``: what the documents say besides, in Markdown.
    ``group``: one of :data:`GROUPS`; "" for an option that ``compile`` does not have.
    ``flags``: how the command line spells it [``--`` and the name]; of a target's option: its alias, if any.
    ``lowest``, ``highest``: the range of a number, both included; ``choices``: the words that are taken.
    ``unset``: what happens without it, where the default does not say so; ``alone``: its value where no value follows.
    ``read``: makes the value of what the command line (text, or a tuple of texts) or Python gives; ``accepts``: the
    type of that in Python [the field's]. ``effect``: the property that says what the option comes to.
    ``former``: what Python and manifests called it before.
    ``name``, ``field``, ``default``, ``kind``, ``annotation``: those of the field; ``name`` is what Python says.
    """

    help: str
    group: str = ""
    name: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    flags: tuple[str, ...] = ()
    metavar: str = ""
    unset: str = ""
    alone: str = ""
    note: str = ""
    effect: str = ""
    accepts: str = ""
    read: Callable[[Any], Any] | None = None
    kind: Any = None
    field: str = ""
    annotation: str = ""
    former: str = ""

    @property
    def flag(self) -> str:
        """The long spelling on the command line."""
        return next((f for f in self.flags if f.startswith("--")), f"--{self.name.replace('_', '-')}")

    @property
    def scalar(self) -> type | None:
        """The type of one value (a key of :data:`SCALARS`); None for a mapping or a tuple."""
        kind = self.kind if self.kind is not None else type(self.default)
        if get_origin(kind) is Literal:
            return str
        if get_origin(kind) in (Union, UnionType):
            kind = next(k for k in get_args(kind) if k is not NoneType)
        return kind if kind in SCALARS else None

    @property
    def multiple(self) -> bool:
        """Whether the command line takes it several times: each adds an entry of a mapping."""
        return get_origin(self.kind) is Mapping

    @property
    def optional(self) -> bool:
        """Whether None is a value."""
        return NoneType in get_args(self.kind)

    def taken(self, given: Any) -> Any:
        """Return the value that was given, as the field holds it: NumPy's numbers become Python's. Raises SFN605."""
        if self.read is not None:
            return self.read(given)
        if self.scalar is int and isinstance(given, Integral) and not isinstance(given, bool):
            return int(given)
        if self.scalar is float and isinstance(given, Real) and not isinstance(given, bool):
            return float(given)
        return given

    def parsed(self, text: str, said: str) -> Any:
        """Return the value that a text stands for; ``said`` names the option in a message. Raises SFN605."""
        kind = self.scalar
        try:
            if kind is bool:
                return WORDS[text.lower()]
            return text if kind is str or kind is None else kind(text)
        except (ValueError, KeyError):
            raise fail("SFN605", f"{said} {text!r}; {SCALARS[kind or str]} is needed") from None

    def check(self, value: Any, said: str = "") -> None:
        """Raise SFN605 for a value of another type, out of range or not among the choices."""
        said, kind = said or self.flag, self.scalar
        if kind is None or (value is None and (self.optional or self.default is None)):
            return
        whole = kind is float and isinstance(value, int) and not isinstance(value, bool)
        if not whole and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise fail("SFN605", f"{said} {value!r}; {SCALARS[kind]} is needed")
        if isinstance(value, float) and math.isnan(value):
            raise fail("SFN605", f"{said} is not a number")
        if self.choices and value not in self.choices:
            raise fail("SFN605", f"{said} {value!r}", fix=f"one of {', '.join(self.choices)}")
        below = self.lowest is not None and value < self.lowest
        if below or (self.highest is not None and value > self.highest):
            raise fail("SFN605", f"{said} {value}; {self.limits}")

    @property
    def limits(self) -> str:
        """The range of a number in words."""
        if self.highest is None:
            return f"at least {self.lowest:g} is needed"
        return f"it must lie in {self.lowest:g}..{self.highest:g}"


def option(default: Any, help: str, group: str = "", **said: Any) -> Any:
    """Return a dataclass field that is an option; ``said``: the other fields of :class:`Option`."""
    declared = {"option": Option(help, group, **said)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=declared)
    return field(default=default, metadata=declared)


def required(help: str, group: str = "", **said: Any) -> dict[str, Option]:
    """Return the metadata of a field without a default that is an option."""
    return {"option": Option(help, group, **said)}


@cache
def options_of(declaring: Any) -> tuple[Option, ...]:
    """Return the options that the fields of a dataclass declare, in their order."""
    kinds = get_type_hints(declaring)
    found = []
    for f in fields(declaring):
        if "option" in f.metadata:
            said: Option = f.metadata["option"]
            own = {"name": said.name or f.name, "field": f.name, "kind": kinds[f.name], "annotation": str(f.type)}
            found.append(replace(said, default=_default(f), **own))
    return tuple(found)


def _default(of: Field[Any]) -> Any:
    if of.default_factory is not MISSING:
        return of.default_factory()
    return None if of.default is MISSING else of.default


def check_options(holder: Any) -> None:
    """Raise SFN605 for the first option of a dataclass's instance whose value is not accepted."""
    declaring: Any = type(holder)
    for o in options_of(declaring):
        o.check(getattr(holder, o.effect or o.field))


def unknown(name: str, known: Iterable[str], what: str = "option") -> CompileError:
    """Return the error (SFN605) for a name that no option has; it says the nearest one."""
    from difflib import get_close_matches  # needed for this message only

    names = list(known)
    near = get_close_matches(name, names, 1, 0.5)
    listed = f"there are: {', '.join(names)}" if names else "there are none"
    return fail("SFN605", f"no {what} {name!r}", fix=f"{near[0]}? {listed}" if near else listed)


def read_all(options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that were given, read, by the names of the options. Raises SFN605 for a name or value."""
    known = {o.name: o for o in options}
    now = {o.former: o.name for o in known.values() if o.former}
    for name in given:
        if now.get(name, name) not in known:
            raise unknown(name, known)
    return {now.get(name, name): known[now.get(name, name)].taken(value) for name, value in given.items()}


def held_by(declaring: type, read: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that were read which a dataclass declares, by its fields."""
    return {o.field: read[o.name] for o in options_of(declaring) if o.name in read}


def as_json(value: Any) -> Any:
    """Return a value as JSON has it; of a dataclass what differs from its defaults."""
    if is_dataclass(value):
        declaring: Any = type(value)
        own = ((o.field, getattr(value, o.field), o.default) for o in options_of(declaring))
        return {name: as_json(held) for name, held, default in own if held != default}
    if isinstance(value, Mapping):
        return {name: as_json(held) for name, held in sorted(value.items())}
    return [as_json(held) for held in value] if isinstance(value, tuple) else value
