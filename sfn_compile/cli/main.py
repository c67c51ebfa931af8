"""The command line: parses, calls the driver, prints. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import errno
import gc
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..commands.request import request_of
from ..foundation.codes import CODES, EXIT_BUG, EXIT_ENVIRONMENT, EXIT_PIPE, EXIT_USAGE
from ..foundation.declaration import held_by, read_all
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.option_values import read_names
from ..foundation.options import BISECT_LIMIT, Machine, Options
from ..foundation.version import __version__
from .options import (
    CHECK,
    COMPILE,
    GATES,
    JSON,
    PREPARATION,
    PROCESSES,
    QUIET,
    SEED,
    SIMULATOR,
    Command,
    TargetsCommand,
    data_given,
    panels,
    samples_of,
    takes,
)
from .standard_streams import silence, silence_closed

FILE = click.Path(path_type=Path)
AT_THE_END = "SFN407"  # what a build tells of its quality stands behind its table
FULL = (errno.ENOSPC, errno.EDQUOT)


class _DefaultCompile(click.Group):
    """``sfnc model.onnx ...`` means ``sfnc compile model.onnx ...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            looks_like_model = Path(args[0]).suffix == ".onnx" or Path(args[0]).exists() or args[0].startswith("-")
            if looks_like_model:
                args = ["compile", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_DefaultCompile, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="sfnc")
def cli() -> None:
    """Compile trained networks (ONNX) to integer spiking networks that answer in one timestep, with proof.

    \b
    sfnc model.onnx --calib data.npz --target sim,nir,lava -o out     compile
    sfnc verify out                                                   prove every target equal, bit for bit
    sfnc eval out --data test.npz                                     accuracy beside the float model
    sfnc bisect out --data test.npz                                   where accuracy is lost, and what to change
    sfnc report out                                                   everything on one page, out/report.html
    """


def _guarded(command: Callable[..., int]) -> Callable[..., None]:
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
        return command(*args, **kwargs)
    except CompileError as error:
        _print_problems(list(error.diagnostics), as_json)
        return error.exit_code
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was changed", err=True)
        return 130
    except MemoryError as error:
        what = f"the machine's memory does not suffice ({str(error)[:200] or 'out of memory'})"
        _print_problems([Diagnostic("SFN606", what, "", CODES["SFN606"].page)], as_json)
        return EXIT_ENVIRONMENT
    except Exception as error:  # whatever it is, it is ours: the user gets a code, the traceback and exit 70
        if isinstance(error, OSError) and error.errno in FULL:
            silence(sys.stdout)  # what it could not take would be tried again at the end
            _print_problems([Diagnostic("SFN602", f"cannot write: {error.strerror}", error.filename or "")], as_json)
            return EXIT_ENVIRONMENT
        return _own_bug(error, as_json)


def _own_bug(error: Exception, as_json: bool) -> int:
    text = "".join(traceback.format_exception(error))
    what = f"{type(error).__name__}: {error}"
    _print_problems([Diagnostic("SFN901", what, "sfnc itself", CODES["SFN901"].page)], as_json)
    click.echo(text, err=True)
    return EXIT_BUG


def _print_problems(problems: list[Diagnostic], as_json: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"diagnostics": [d.as_dict() for d in problems]}, indent=1), err=True)
        return
    for d in problems:
        click.echo(f"{'warning' if d.severity == 'warning' else 'error'} {d}", err=True)


def worst(problems: Sequence[Diagnostic]) -> int:
    """Return the exit status of several problems: 1 where a check failed, whatever else is wrong."""
    return max((CODES[d.code].exit_code for d in problems), key=lambda c: (c == 1, c), default=0)


def _print_json(document: Mapping[str, Any]) -> None:
    """Print a document as it stands in its file."""
    from ..files.build_folder import dumps

    click.echo(dumps(document), nl=False)


@cli.command("compile", cls=TargetsCommand, panels=panels())
@click.argument("model", type=FILE)
@takes(*COMPILE.values(), grouped=True)
@_guarded
def compile_command(model: Path, output: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Compile MODEL.onnx (the verb may be left out)."""
    asked = request_of(given)
    from ..commands.build import build
    from .terminal import Console

    console = Console(quiet or as_json)
    out = output if output is not None else Path(f"{model.stem}.sfnc")
    beside = asked.arguments
    shapes = dict(beside.input_shapes)
    with console.progress() as progress:
        built = build(model, out, asked.options, asked.data, shapes, progress, asked.search, beside.force)
    if as_json:
        _print_json({"output": str(out), **built.report})
    else:
        said = [Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in built.report["warnings"]]
        _print_problems([w for w in said if w.code != AT_THE_END])
        console.build(built)
        _print_problems([w for w in said if w.code == AT_THE_END])
    for error in built.refusals.values():
        _print_problems(list(error.diagnostics), as_json)
    return next((e.exit_code for e in built.refusals.values()), 0)


@cli.command("check", cls=TargetsCommand, panels=panels())
@click.argument("model", type=FILE)
@takes(*CHECK, QUIET, JSON, grouped=True)
@_guarded
def check_command(model: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Say what compile would map or refuse, and why; converts nothing."""
    asked = read_all(CHECK, given)
    calib = data_given(asked.pop("calib"), asked, "--calib")
    targets, shapes = (asked.pop(name) for name in ("targets", "input_shapes"))
    options = Options(**held_by(Options, asked))
    from ..commands.check import check
    from .plain_lines import check_lines

    with _progress(quiet or as_json) as progress:
        found = check(model, options, targets, calib, dict(shapes), progress)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
        return found.exit_code
    for line in () if quiet else check_lines(found):
        click.echo(line)
    _print_problems(found.problems)
    return found.exit_code


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what draws progress; nothing is loaded to draw it where nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from .terminal import Console

    with Console().progress() as progress:
        yield progress


@cli.command("run", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--input", "data", type=FILE, required=True, metavar="DATA", help="Inputs, as for compile --calib.")
@click.option("-o", "--output", type=FILE, required=True, help="Where the outputs go (.npz).")
@click.option("--on", default="sim", show_default=True, help="The target that computes them.")
@click.option("--codes", is_flag=True, help="Write the raw integers of every layer instead of real outputs.")
@takes(*PREPARATION, *SIMULATOR, QUIET)
@_guarded
def run_command(build_folder: Path, data: Path, output: Path, on: str, codes: bool, quiet: bool, **rest: Any) -> int:
    """Run a build on inputs and write its outputs."""
    from ..commands.evaluate import run_build
    from ..files.answers import require_writable, save_outputs

    read = (build_folder, data)
    require_writable(output, read)
    given = data_given(data, rest, "--input")
    found = run_build(build_folder, given, on, codes, machine=Machine(**rest))
    save_outputs(output, found, read)
    if not quiet:
        click.echo(f"wrote {len(found)} arrays to {output}", err=True)
    return 0


@cli.command("verify", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, metavar="DATA", help="Inputs to prove it on. [default: the golden inputs]")
@takes(samples_of("8"), SEED)
@click.option("--on", help="Targets to verify. [default: all in the build]")
@click.option("--time-limit", type=float, default=1800.0, show_default=True, help="Seconds a target may run.")
@takes(*PREPARATION, *SIMULATOR, QUIET, JSON)
@_guarded
def verify_command(
    build_folder: Path, data: Path | None, samples: int | None, seed: int, on: str | None, time_limit: float,
    quiet: bool, as_json: bool, **rest: Any,
) -> int:  # fmt: skip
    """Prove that every emitted target computes the simulator's integers, layer by layer."""
    from ..commands.verify import verify
    from .terminal import Console

    targets, console = None if on is None else read_names(on), Console(quiet or as_json)
    given = data_given(data, rest, "--data")
    with console.progress() as progress:
        proof = verify(build_folder, given, samples, targets, seed, time_limit, Machine(**rest), progress)
    if as_json:
        _print_json(proof.document)
    else:
        console.proof(proof.document)
    _print_problems(proof.problems, as_json)
    return worst(proof.problems)


@cli.command("eval", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Samples, with labels for accuracy.")
@takes(samples_of("all"), SEED, *PREPARATION)
@click.option("--on", default="sim", show_default=True, help="The target that computes the spiking network.")
@takes(*GATES)
@takes(*PROCESSES)
@takes(*SIMULATOR, QUIET, JSON)
@_guarded
def eval_command(
    build_folder: Path, data: Path, samples: int | None, seed: int, on: str, quiet: bool, as_json: bool, **others: Any
) -> int:
    """Measure accuracy and agreement: the float model (onnxruntime) beside the spiking network."""
    from ..commands.evaluate import evaluate
    from ..evaluation.gates import Gates, problems
    from .terminal import Console

    console, given = Console(quiet or as_json), data_given(data, others, "--data")
    read = read_all((*GATES, *PROCESSES, *SIMULATOR), others)
    gates, machine = Gates(**held_by(Gates, read)), Machine(**held_by(Machine, read))
    with console.progress() as progress:
        found = evaluate(build_folder, given, samples, seed, progress, on, machine=machine, gates=gates)
    if as_json:
        _print_json(found)
    else:
        _print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in found["warnings"]])
        console.evaluation(found)
    failed = problems(found["gates"], found["data"]["source"], "`sfnc bisect OUT --data FILE` names a layer to change")
    _print_problems(failed, as_json)
    return worst(failed)


@cli.command("bisect", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Samples to look at.")
@takes(samples_of("32"), SEED)
@click.option("--limit", type=float, default=BISECT_LIMIT, show_default=True, metavar="DB",
              help="Signal to noise of the outputs that is close enough.")  # fmt: skip
@takes(*PREPARATION, QUIET, JSON)
@_guarded
def bisect_command(
    build_folder: Path,
    data: Path,
    samples: int | None,
    seed: int,
    limit: float,
    quiet: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Name the first layer where the spiking network leaves the float model, why, and what to change."""
    from ..commands.bisect import bisect
    from .terminal import Console

    found = bisect(build_folder, data_given(data, rest, "--data"), samples, seed, limit)
    if as_json:
        _print_json(found.document)
    else:
        warnings = found.document["warnings"]
        _print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in warnings])
        Console(quiet).bisection(found.document)
    _print_problems(found.problems, as_json)
    return CODES[found.problems[0].code].exit_code if found.problems else 0


@cli.command("report", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@takes(QUIET)
@_guarded
def report_command(build_folder: Path, quiet: bool) -> int:
    """Write OUT/report.html anew, with accuracy and proof where eval and verify left them."""
    from ..report.page.document import write_page

    path = write_page(build_folder)
    if not quiet:
        click.echo(f"wrote {path}")
    return 0


@cli.command("ops", cls=Command)
@takes(JSON)
@_guarded
def ops_command(as_json: bool) -> int:
    """List the ONNX operators that are compiled."""
    from ..frontend.operators import describe

    rows = describe()
    if as_json:
        click.echo(json.dumps(dict(rows), indent=1))
    else:
        for name, what in rows:
            click.echo(f"{name:22} {what}")
    return 0


@cli.command("targets", cls=Command)
@takes(JSON)
@_guarded
def targets_command(as_json: bool) -> int:
    """List the targets and whether they can execute here."""
    from ..targets import backend

    rows = []
    for name in backend.names():
        target = backend.load(name)
        why = target.available()
        rows.append({"name": name, "note": target.capabilities.note, "available": why is None, "reason": why or ""})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            state = "available" if row["available"] else f"not here: {row['reason']}"
            click.echo(f"{row['name']:8} {row['note']}\n         {state}")
    return 0


@cli.command("explain", cls=Command)
@click.argument("code")
@_guarded
def explain_command(code: str) -> int:
    """Print the help page of an error code (SFN...)."""
    found = CODES.get(code.upper())
    if found is None:
        click.echo(f"no code {code!r}; there are: {' '.join(CODES)}", err=True)
        return EXIT_USAGE
    click.echo(f"{code.upper()}: {found.title}\n\n{found.page}\n\nexit code: {found.exit_code}")
    return 0


def main() -> None:
    """Entry point of ``sfnc``."""
    for library in ("onnx_ir", "onnxscript"):  # what they warn of is checked here, and told as a diagnostic
        logging.getLogger(library).setLevel(logging.CRITICAL)
    gc.set_threshold(50_000)  # importing what is needed makes many objects that stay
    cli(prog_name="sfnc")


if __name__ == "__main__":
    main()
