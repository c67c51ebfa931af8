"""Values of options that are small languages of their own, read: from texts as the command line has them, or Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from .diagnostics import fail


def read_names(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return names that commas separate, or that are a sequence already.

    >>> read_names("sim, nir"), read_names(["sim"])
    (('sim', 'nir'), ('sim',))
    """
    parts = given.split(",") if isinstance(given, str) else [str(name) for name in given]
    return tuple(part.strip() for part in parts if part.strip())


def read_input_levels(given: Any) -> Any:
    """Return the number that a text is; None for ``auto``. What is neither stays for the check. Raises SFN605.

    >>> read_input_levels("auto"), read_input_levels("1023")
    (None, 1023)
    """
    if given == "auto":
        return None
    if isinstance(given, str):
        try:
            return int(given)
        except ValueError:
            raise fail("SFN605", f"--input-levels {given!r}; an integer or auto is needed") from None
    return int(given) if isinstance(given, Integral) and not isinstance(given, bool) else given


def read_path(given: str | Path | None) -> Path | None:
    """Return a path."""
    return None if given is None else Path(given)


def pairs_of(flag: str, form: str = "key=value") -> Callable[[Any], dict[str, str]]:
    """Return how ``KEY=VALUE``, said any number of times with ``flag``, is read. It raises SFN605.

    >>> pairs_of("--method-option")(("p=99.9",)), pairs_of("--method-option")({"p": 99.9})
    ({'p': '99.9'}, {'p': '99.9'})
    """

    def read(given: Iterable[str] | Mapping[str, Any]) -> dict[str, str]:
        if isinstance(given, Mapping):
            return {str(key): str(value) for key, value in given.items()}
        found = {}
        for text in given:
            key, eq, value = text.partition("=") if isinstance(text, str) else ("", "", "")
            if not eq:
                raise fail("SFN605", f"{flag} {text!r}", fix=f"write it as {form}")
            found[key] = value
        return found

    return read


def read_shapes(given: Iterable[str] | Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of inputs by name; ``NAME=1,3,32,32`` on the command line. Raises SFN605."""
    if isinstance(given, Mapping):
        return {name: tuple(int(d) for d in dims) for name, dims in given.items()}
    found = {}
    for text in given:
        name, _, dims = text.rpartition("=")
        try:
            found[name] = tuple(int(d) for d in dims.split(","))
        except ValueError:
            name = ""
        if not name:
            raise fail("SFN605", f"--input-shape {text!r}", fix="write it as name=1,3,32,32")
    return found
