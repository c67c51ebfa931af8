"""Docstrings of public functions: there are none missing (ruff, D1), and they name the codes that are raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .imports import modules


def public(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions and methods that other modules can call: no leading underscore, not inside a function."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        yield from (f for f in inside if isinstance(f, ast.FunctionDef) and not f.name.startswith("_"))


def raised(function: ast.FunctionDef) -> set[str]:
    """The codes with which a function calls ``fail`` itself, not in functions inside it."""
    found, rest = set(), list[ast.AST](function.body)
    while rest:
        node = rest.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fail":
            found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
        rest.extend(ast.iter_child_nodes(node))
    return found


def unnamed(file: Path) -> list[str]:
    """The public functions of a file whose docstring lacks a code that they raise."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        f"{f.name} (line {f.lineno}): {code}"
        for f in public(tree)
        for code in sorted(raised(f))
        if code not in (ast.get_docstring(f) or "")
    ]


def test_docstrings_name_the_codes_that_their_functions_raise():
    assert {module: found for module, file in modules().items() if (found := unnamed(file))} == {}


def test_a_code_that_is_not_named_is_seen(tmp_path):
    (tmp_path / "m.py").write_text('def f():\n    """Do it."""\n    raise fail("SFN605", "no")\n', encoding="utf-8")
    assert unnamed(tmp_path / "m.py") == ["f (line 1): SFN605"]
