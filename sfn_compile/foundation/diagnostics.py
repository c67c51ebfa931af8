"""Errors are data: a code, what happened, where it comes from in the user's model, and what to do.

Every failure that a user can cause ends as a :class:`CompileError` that carries one or more :class:`Diagnostic`.
The text of each code (``sfnc explain CODE``) and its exit status are in :mod:`sfn_compile.foundation.codes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .codes import CODES


@dataclass(frozen=True)
class Origin:
    """Where an object comes from: the ONNX nodes it stands for and the passes that touched it, in order."""

    nodes: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()

    def touched_by(self, pass_name: str) -> Origin:
        """Return this origin with ``pass_name`` appended (once)."""
        return self if self.passes[-1:] == (pass_name,) else replace(self, passes=(*self.passes, pass_name))

    @staticmethod
    def merge(*origins: Origin) -> Origin:
        """Return the union of several origins, first mention first."""
        nodes = dict.fromkeys(n for o in origins for n in o.nodes)
        passes = dict.fromkeys(p for o in origins for p in o.passes)
        return Origin(tuple(nodes), tuple(passes))


@dataclass(frozen=True)
class Diagnostic:
    """One problem (or warning): stable ``code`` SFNnnn, ``what`` happened, ``where`` (ONNX node or file), ``fix``."""

    code: str
    what: str
    where: str = ""
    fix: str = ""

    @property
    def severity(self) -> str:
        """``error`` or ``warning``, a property of the code."""
        return CODES[self.code].severity

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form that ``--json`` prints."""
        return {"code": self.code, "severity": self.severity, "what": self.what, "where": self.where, "fix": self.fix}

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        fix = f"\n    fix: {self.fix}" if self.fix else ""
        return f"{self.code}{place}: {self.what}{fix}"


class CompileError(Exception):
    """A failure with its diagnostics; its exit status is that of the first one's code."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]):
        self.diagnostics = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        super().__init__("\n".join(str(d) for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[CompileError], tuple[tuple[Diagnostic, ...]]]:
        """Return how to make it again: it crosses from a worker process to the one that prints it."""
        return CompileError, (self.diagnostics,)

    @property
    def exit_code(self) -> int:
        """The process exit status of the contract (``docs/spec/files.md``)."""
        return CODES[self.diagnostics[0].code].exit_code


def fail(code: str, what: str, where: str = "", fix: str = "") -> CompileError:
    """Return a :class:`CompileError` with a single diagnostic, ready to ``raise``."""
    return CompileError(Diagnostic(code, what, where, fix))
