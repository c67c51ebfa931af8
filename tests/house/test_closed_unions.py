"""A kind that is added to a closed union is listed, by the type checker, wherever somebody has to say what it means."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from sfn_compile.files import decode
from sfn_compile.program import linear_maps, moves, products
from sfn_compile.program.network import (
    ADAPTIVE,
    MOVES,
    AdaptiveName,
    Ladder,
    LinearMap,
    MoveOp,
    Normalization,
    ProductForm,
    Step,
)

ROOT = Path(__file__).resolve().parents[2]
# Of each union a new class: (its module, where the union begins, the class that it is a copy of).
NEW = {
    "Shifted": ("program/linear_maps.py", "LinearMap: TypeAlias = ", "Identity"),
    "Counted": ("program/neurons.py", "Ladder: TypeAlias = ", "Readout"),
    "Maximum": ("program/products.py", "ProductForm: TypeAlias = ", "Elementwise"),
    "Rolled": ("program/moves.py", "MoveOp: TypeAlias = ", "Reshape"),
}
# Modules that have to say what a new class is to them; more may.
PLACES = {
    "Shifted": {"compiled_steps", "ranges", "macs", "fold_moves", "slopes", "scaling", "steps", "fanout", "equalize",
                "weight_grid", "links", "compact", "sums", "parts", "connections"},
    "Counted": {"compiled_steps", "plain_steps", "network", "limits", "causes", "measure", "firing", "ops", "meta",
                "compact", "neurons"},
    "Maximum": {"compiled_steps", "fold_moves", "steps", "activity", "sums", "products"},
    "Rolled": {"compiled_steps", "broadcast", "moves"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "union"),
    [(linear_maps.MapName, LinearMap), (products.FormName, ProductForm), (moves.MoveName, MoveOp)],
    ids=["maps", "products", "moves"],
)
def test_the_names_of_capabilities_are_those_of_the_classes(names, union):
    assert set(get_args(names)) == {c.__name__ for c in get_args(union)}


def test_the_sets_of_names_are_complete():
    assert set(get_args(moves.MoveName)) == MOVES
    assert set(get_args(AdaptiveName)) == ADAPTIVE
    known = {c.__name__ for c in (*get_args(Ladder), Normalization)}
    assert known > ADAPTIVE


@pytest.mark.parametrize("union", [Step, LinearMap, ProductForm, Ladder, MoveOp], ids=str)
def test_every_class_of_a_union_can_be_read_from_a_file(union):
    assert {c.__name__ for c in get_args(union)} <= set(decode.CLASSES)


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> dict[str, set[str]]:
    """Modules in which the type checker finds a new class unhandled, by class; all are added at once."""
    pytest.importorskip("mypy", reason="mypy is not installed: .[lint]")
    copy = tmp_path_factory.mktemp("patched")
    for folder in ("sfn_compile", "backends"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, (module, union, like) in NEW.items():
        path = copy / "sfn_compile" / module
        text = path.read_text(encoding="utf-8")
        copied = re.search(rf"@dataclass\([^\n]*\)\nclass {like}\b.*?(?=\n\n\n)", text, re.DOTALL)
        assert copied is not None
        body = copied.group().replace(f"class {like}", f"class {name}")
        path.write_text(text.replace(union, f"{body}\n\n\n{union}{name} | ", 1), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=copy, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {name: set() for name in NEW}
    for line in done.stdout.splitlines():
        for name, places in found.items():
            if re.search(rf'"assert_never" has incompatible type "[^"]*\b{name}\b', line):
                places.add(Path(line.split(":")[0]).stem)
    return found


@pytest.mark.parametrize("name", NEW)
def test_the_type_checker_lists_the_places_where_a_new_class_has_to_be_given_a_meaning(name, listed):
    assert listed[name] >= PLACES[name], listed[name]
