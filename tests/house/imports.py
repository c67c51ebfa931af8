"""The imports of the code, read from its text: which module imports which, and in which room each of them is."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"sfn_compile": ROOT / "sfn_compile", "sfn_backends": ROOT / "backends" / "sfn_backends"}
Imports = Mapping[str, frozenset[str]]


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module by its dotted name."""
    found = {}
    for package, folder in SOURCES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = (package, *file.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports() -> Imports:
    """Return the modules of this project that each one imports, also inside functions and for type checkers."""
    return {name: frozenset(_imported(name, file)) - {name} for name, file in modules().items()}


def _imported(name: str, file: Path) -> Iterator[str]:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in modules())
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield from (m for m in (full if full in modules() else base,) if m in modules())


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join((*parts, *([node.module] if node.module else [])))


def room(module: str) -> str:
    """Return the folder below the package that a module is in ("": the package itself); every back end is a room."""
    package, _, rest = module.partition(".")
    inside = rest.partition(".")[0]
    # The options of a back end stand beside it: help reads them without importing it.
    return f"backends.{inside.removesuffix('_options')}" if package == "sfn_backends" else inside


def depths(edges: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Return how many nodes the longest chain of imports from each node has. Raises AssertionError for a circle."""
    known: dict[str, int] = {}

    def depth(node: str, chain: tuple[str, ...]) -> int:
        assert node not in chain, f"a circle of imports: {' -> '.join((*chain, node))}"
        if node not in known:
            known[node] = 1 + max((depth(n, (*chain, node)) for n in edges[node]), default=0)
        return known[node]

    return {node: depth(node, ()) for node in edges}
