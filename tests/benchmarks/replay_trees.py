"""A revision of this repository as a program to run: its own packages and entry points, this environment."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings along

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sfn_compile", "sfn_backends")
# Run with: folder of the tree, module and function of the program, its arguments.
START = f"""
import importlib, pathlib, sys
tree, module, function, *arguments = sys.argv[1:]
for name in {PACKAGES!r}:
    found = pathlib.Path(importlib.import_module(name).__file__).resolve()
    if not found.is_relative_to(tree):
        sys.exit(f"replay: {{name}} was imported from {{found}}, not from the tree {{tree}}")
sys.argv = ["sfnc", *arguments]
sys.exit(getattr(importlib.import_module(module), function)())
"""


@dataclass(frozen=True)
class Tree:
    """A checked-out revision. ``path``: what its processes import from first; ``program``: module and function."""

    folder: Path
    path: tuple[Path, ...]
    program: tuple[str, str]

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: its own packages, one thread of BLAS."""
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return {**os.environ, **one, "PYTHONPATH": os.pathsep.join(map(str, self.path)), "COLUMNS": "120"}

    def sfnc(self, work: Path, *arguments: str) -> tuple[int, str, float]:
        """Run its command line in the folder ``work``; return (exit status, error output, processor seconds)."""
        before = _children_seconds()
        command = [sys.executable, "-c", START, str(self.folder), *self.program, *arguments]
        done = subprocess.run(command, cwd=work, env=self.environment(), capture_output=True, text=True)
        if done.returncode == 1 and done.stderr.startswith("replay:"):
            raise RuntimeError(done.stderr.strip())
        return done.returncode, done.stderr, _children_seconds() - before


def tree_of(folder: Path, scratch: Path) -> Tree:
    """Return the tree in ``folder``; its entry points, as its pyproject states them, are written into ``scratch``.

    The entry points of the installed project would be those of the working tree.
    """
    stated: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = stated["project"]
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    info = scratch / f"{project['name']}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n", encoding="utf-8")
    lines = [
        line for group, names in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    roots = stated["tool"]["hatch"]["build"]["dev-mode-dirs"]
    module, _, function = project["scripts"]["sfnc"].partition(":")
    folder = folder.resolve()
    return Tree(folder, (scratch, *((folder / root).resolve() for root in roots)), (module, function))


@contextlib.contextmanager
def revision(name: str | None) -> Iterator[Tree]:
    """Yield the tree of a git revision, checked out into a temporary folder; ``None`` is the working tree."""
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        if name is None:
            yield tree_of(ROOT, Path(scratch) / "points")
            return
        folder = Path(scratch) / "tree"
        _git("worktree", "add", "--detach", str(folder), name)
        try:
            yield tree_of(folder, Path(scratch) / "points")
        finally:
            _git("worktree", "remove", "--force", str(folder))


def described(name: str | None) -> str:
    """Return the commit of a revision, or of the working tree with a mark where files differ from it."""
    commit = _git("rev-parse", "--short", f"{name or 'HEAD'}^{{commit}}")
    return commit if name or not _git("status", "--porcelain", "--untracked-files=no") else f"{commit} and changes"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
