"""What every command does around its work: diagnostics become messages and exit statuses, progress becomes a bar."""

from __future__ import annotations

import errno
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..foundation.codes import CODES, EXIT_BUG, EXIT_ENVIRONMENT, EXIT_PIPE
from ..foundation.diagnostics import CompileError, Diagnostic
from .job_outputs import begin, tell
from .standard_streams import silence, silence_closed

FULL = (errno.ENOSPC, errno.EDQUOT)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn diagnostics into messages and exit codes; anything else is our own bug and says so."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            code = _status(command, args, kwargs, as_json)
        except BrokenPipeError as error:
            code = EXIT_PIPE if silence_closed() else _own_bug(error, as_json)
        sys.exit(code)

    return run


def _status(command: Callable[..., int], args: tuple[Any, ...], kwargs: dict[str, Any], as_json: bool) -> int:
    try:
        begin(kwargs)
        return command(*args, **kwargs)
    except CompileError as error:
        print_problems(list(error.diagnostics), as_json)
        _tell_of_failure(error, kwargs)
        return error.exit_code
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was changed", err=True)
        return 130
    except MemoryError as error:
        what = f"the machine's memory does not suffice ({str(error)[:200] or 'out of memory'})"
        print_problems([Diagnostic("SFN606", what, "", CODES["SFN606"].page)], as_json)
        return EXIT_ENVIRONMENT
    except Exception as error:  # whatever it is, it is ours: the user gets a code, the traceback and exit 70
        if isinstance(error, OSError) and error.errno in FULL:
            silence(sys.stdout)  # what it could not take would be tried again at the end
            print_problems([Diagnostic("SFN602", f"cannot write: {error.strerror}", error.filename or "")], as_json)
            return EXIT_ENVIRONMENT
        return _own_bug(error, as_json)


def _tell_of_failure(error: CompileError, kwargs: Mapping[str, Any]) -> None:
    """Write what a job asked for of a command that failed, where that can be written."""
    place = kwargs.get("build_folder") or kwargs.get("output") or kwargs.get("model") or Path(".")
    try:
        tell(str(click.get_current_context().info_name), place, None, error.diagnostics)
    except CompileError as other:
        if other.diagnostics != error.diagnostics:
            print_problems(list(other.diagnostics))


def _own_bug(error: Exception, as_json: bool) -> int:
    text = "".join(traceback.format_exception(error))
    what = f"{type(error).__name__}: {error}"
    print_problems([Diagnostic("SFN901", what, "sfnc itself", CODES["SFN901"].page)], as_json)
    click.echo(text, err=True)
    return EXIT_BUG


def print_problems(problems: Sequence[Diagnostic], as_json: bool = False) -> None:
    """Print problems and warnings to standard error."""
    if as_json and problems:
        click.echo(json.dumps({"diagnostics": [d.as_dict() for d in problems]}, indent=1), err=True)
    for d in () if as_json else problems:
        click.echo(f"{'warning' if d.severity == 'warning' else 'error'} {d}", err=True)


def worst(problems: Sequence[Diagnostic]) -> int:
    """Return the exit status of several problems: 1 where a check failed, whatever else is wrong."""
    return max((CODES[d.code].exit_code for d in problems), key=lambda c: (c == 1, c), default=0)


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as it is in its file."""
    from ..files.build_folder import dumps

    click.echo(dumps(document), nl=False)


@contextmanager
def progress_of(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what draws progress; without a terminal it says each stage in a line of its own, and loads nothing."""
    if quiet:
        yield lambda stage, done, total: None
        return
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            del done, total
            if stage not in said:
                said.add(stage)
                print(stage, file=sys.stderr, flush=True)

        yield line
        return
    from .terminal import Console

    with Console().progress() as progress:
        yield progress
