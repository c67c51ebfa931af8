"""The rooms of the house: imports go down only, back ends stand on the Program alone, nothing grows too large."""

from __future__ import annotations

import ast

import pytest

from .imports import ROOT, depths, imports, modules, room

# From the top floor down. A room imports rooms of floors below its own, never of its own floor.
FLOORS = (
    ("", "api"),  # the package itself: `compile`, `load`, `Network`, `Program`
    ("cli", "assertions"),
    ("commands",),
    ("search", "tasks"),
    ("compiler", "evaluation"),
    ("learning", "report"),
    ("passes",),
    ("calibration",),
    ("host",),
    ("frontend", "testing", "hardware"),
    ("targets", "graph", "data"),
    ("simulator", "files"),
    ("program",),
    ("foundation",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
# What a back end stands on. Of `targets` it is the protocol alone.
BELOW_BACK_ENDS = {"foundation", "program", "simulator", "files"}
PROTOCOL = "sfn_compile.targets.backend"
LONGEST_FILE, LONGEST_FUNCTION, DEEPEST = 400, 40, 12
CODE = sorted(f for d in ("sfn_compile", "backends", "tests", "models", "docs") for f in (ROOT / d).rglob("*.py"))


def room_imports() -> dict[str, frozenset[str]]:
    """The rooms that each room imports; what the package itself offers is imported when it is asked for."""
    edges: dict[str, set[str]] = {room(m): set() for m in modules()}
    for module, imported in imports().items():
        edges[room(module)] |= {room(m) for m in imported} - {room(module)}
    return {name: frozenset(others) for name, others in edges.items()}


def test_every_room_has_a_floor():
    assert {r for r in room_imports() if not r.startswith("backends.")} == set(FLOOR)


@pytest.mark.parametrize("name", [r for r in FLOOR if r not in FLOORS[0]])
def test_a_room_imports_only_rooms_below_it(name):
    up = {other for other in room_imports()[name] if FLOOR.get(other, -1) <= FLOOR[name]}
    assert not up, f"{name} imports {sorted(up)}"


def test_no_module_is_in_a_circle():
    depths(imports())


def test_rooms_are_at_most_twelve_deep():
    below = {name: others for name, others in room_imports().items() if name not in FLOORS[0]}
    assert max(depths({n: o - set(FLOORS[0]) for n, o in below.items()}).values()) <= DEEPEST


def test_beside_the_rooms_stands_the_package_alone():
    assert [f.name for f in sorted((ROOT / "sfn_compile").glob("*.py"))] == ["__init__.py"]


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith("sfn_backends.")])
def test_a_back_end_stands_on_the_program_and_the_protocol_alone(module):
    allowed = {m for m in modules() if room(m) in BELOW_BACK_ENDS} | {PROTOCOL}
    own = {m for m in modules() if m == "sfn_backends" or room(m) == room(module)}
    assert imports()[module] <= allowed | own


def test_the_compiler_knows_no_back_end():
    for module, imported in imports().items():
        if not module.startswith("sfn_backends"):
            assert not {m for m in imported if m.startswith("sfn_backends")}, module


@pytest.mark.parametrize("file", CODE, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"
