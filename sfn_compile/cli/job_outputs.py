"""``--junit FILE`` and ``--markdown``: what a command found, for a job of continuous integration."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..foundation.diagnostics import Diagnostic

_MARK = "sfn_compile.job_outputs"


@dataclass
class JobOutputs:
    """What the command line asks for, and since when the command runs."""

    junit: Path | None = None
    markdown: bool = False
    read: tuple[Path, ...] = ()
    began: float = field(default_factory=time.monotonic)


def begin(kwargs: dict[str, Any]) -> None:
    """Take the two options out of what a command is called with; Markdown is in the place of text."""
    asked = JobOutputs(kwargs.pop("junit", None), kwargs.pop("markdown", False))
    if asked.markdown and kwargs.get("as_json"):
        raise click.UsageError("--json and --markdown: standard output takes one of them")
    if asked.markdown:
        kwargs["quiet"] = True
    click.get_current_context().meta[_MARK] = asked
    asked.read = tuple(value for value in kwargs.values() if isinstance(value, Path))
    if asked.junit is not None:
        from ..files.answers import require_free

        place, asked.junit = asked.junit, None  # what may not be written to is not written to on failure either
        require_free(place, asked.read)
        asked.junit = place


def tell(command: str, build: Path, document: Mapping[str, Any] | None, problems: Sequence[Diagnostic]) -> None:
    """Write what was asked for. ``document``: what the command left, None where it ended before."""
    asked: JobOutputs = click.get_current_context().meta.get(_MARK, JobOutputs())
    if asked.junit is None and not asked.markdown:
        return
    from ..report.job_summary import checks_of, junit, markdown

    checks = checks_of(command, document, problems)
    if asked.junit is not None:
        from ..files.answers import save_text

        save_text(asked.junit, junit(command, build.name, checks, time.monotonic() - asked.began), asked.read)
    if asked.markdown:
        click.echo(markdown(command, build.name, document, checks))
