"""Words: the README is short, and what the glossary names exists in the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README_WORDS = 900
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ENTRIES = {part.partition("\n")[0]: part for part in re.split(r"^## ", GLOSSARY, flags=re.MULTILINE)[1:]}


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_the_glossary_is_in_alphabetical_order():
    assert list(ENTRIES) == sorted(ENTRIES, key=str.lower)


@pytest.mark.parametrize("term", ENTRIES)
def test_a_term_names_symbols_of_the_code(term):
    symbols = re.findall(r"`(sfn_compile[\w.]+)`", ENTRIES[term].partition("In code:")[2])
    assert symbols
    for symbol in symbols:
        found(symbol)


def found(symbol: str) -> object:
    """The object of a dotted name: of a module, of a class in it, or a field of a class."""
    parts = symbol.split(".")
    for n in range(len(parts) - 1, 0, -1):
        try:
            here: object = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            fields = getattr(here, "__dataclass_fields__", {}) or getattr(here, "__annotations__", {})
            here = fields[name] if name in fields else getattr(here, name)
        return here
    raise AssertionError(f"{symbol} is not in the code")


def test_a_symbol_that_is_not_there_is_seen():
    with pytest.raises(AttributeError):
        found("sfn_compile.program.network.Population.no_such_field")
