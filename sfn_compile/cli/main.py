"""The command line: parses, calls the driver, prints. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import errno
import gc
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..foundation.codes import CODES, EXIT_BUG, EXIT_ENVIRONMENT, EXIT_PIPE, EXIT_USAGE
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.options import (
    ATTENTION_FORMS,
    BISECT_LIMIT,
    ENGINES,
    GRANULARITIES,
    METHOD_NAMES,
    NIR_FORMS,
    THRESHOLDS,
    Machine,
    Options,
)
from ..foundation.version import __version__
from ..search.plan import OBJECTIVES, STRATEGIES
from .arguments import names, pairs, search_of, shapes, sites
from .standard_streams import silence, silence_closed

FILE = click.Path(path_type=Path)
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


def _print_json(document: Mapping[str, Any]) -> None:
    """Print a document as it stands in its file."""
    from ..files.build_folder import dumps

    click.echo(dumps(document), nl=False)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
_threads_option = click.option("--threads", type=int, help="Threads of the simulator. [default: one per core]")
_engine_option = click.option("--engine", type=click.Choice(ENGINES), default="fast", show_default=True,
                              help="How the simulator computes; reference is plain int64.")  # fmt: skip
_quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print errors only.")


@cli.command("compile")
@click.argument("model", type=FILE)
@click.option("--target", default="sim", show_default=True, help="Targets, separated by commas (see `sfnc targets`).")
@click.option("-o", "--output", type=FILE, help="Build folder. [default: MODEL without .onnx, plus .sfnc]")
@click.option("--calib", type=FILE, help="Calibration data, .npz or .npy, as the model takes it.")
@click.option("--samples", type=int, help="Use this many samples of the calibration data. [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses those samples.")
@click.option("--levels", type=int, default=31, show_default=True, help="Highest code of a population.")
@click.option(
    "--attention-levels",
    type=int,
    default=255,
    show_default=True,
    help="Highest code of what attention multiplies and of what normalisation depends on.",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTION_FORMS),
    default="quotient",
    show_default=True,
    help="Divide behind the product with the values, or fire attention's weights first.",
)
@click.option(
    "--carry/--no-carry",
    default=True,
    show_default=True,
    help="Carry on what rounding left of a residual stream, in populations of its own.",
)
@click.option("--input-levels", type=int, default=255, show_default=True, help="Highest code of the input.")
@click.option("--weight-bits", type=int, default=8, show_default=True, help="Bits of a weight, sign included.")
@click.option("--method", type=click.Choice(METHOD_NAMES), default="mse", show_default=True, help="Chooses thresholds.")
@click.option("--method-option", multiple=True, metavar="KEY=VALUE",
              help="offset; p (percentile, sfn); lambda, ladder (sfn); reading, polarity (sfn, pmsm).")  # fmt: skip
@click.option("--granularity", type=click.Choice(GRANULARITIES), default="channel", show_default=True,
              help="One step per channel, or one per tensor.")  # fmt: skip
@click.option("--threshold", type=click.Choice(THRESHOLDS), default="odd", show_default=True,
              help="Integer thresholds that are odd, or powers of two: a shift on hardware.")  # fmt: skip
@click.option("--site", multiple=True, metavar="NAME:KEY=VALUE,...",
              help="One population's own levels, weight-bits, method, stretch (factor of its step).")  # fmt: skip
@click.option("--reconstruct/--no-reconstruct", default=None,
              help="Learn weights from the float network. [default: below 31 levels or 8 bits]")  # fmt: skip
@click.option("--equalize", is_flag=True, help="Steps by cross-layer equalisation of weights, instead of --method's.")
@click.option("--epochs", type=int, default=4, show_default=True, help="How often --reconstruct sees every sample.")
@click.option("--fine-share", type=float, metavar="SHARE",
              help="Neurons that may have more levels. [default: 0.1 with --reconstruct, else 0]")  # fmt: skip
@click.option("--digit-share", type=float, metavar="SHARE",
              help="Multiply-accumulates that may be added to fire sites in two digits, as a share of the network's. "
              "[default: 1 with --reconstruct, else 0]")  # fmt: skip
@click.option("--timesteps", type=int, default=1, show_default=True, help="Only 1 exists.")
@click.option("--nir-form", type=click.Choice(NIR_FORMS), default="binary", show_default=True, help="NIR spelling.")
@click.option("--input-shape", multiple=True, metavar="NAME=1,3,32,32", help="Pins symbolic axes of the input.")
@click.option(
    "--acc-bits", type=int, default=24, show_default=True, help="Accumulator width that is proved to suffice."
)
@click.option("--require-accuracy-drop", type=float, metavar="PTS",
              help="Fail if top-1 on the labelled calibration data drops by more points.")  # fmt: skip
@click.option(
    "--search",
    "strategy",
    is_flag=False,
    flag_value="auto",
    type=click.Choice(("auto", *STRATEGIES)),
    help="Search for levels, steps and weight bits of each layer. [alone: tpe, or grid without optuna]",
)
@click.option("--trials", type=int, help="Networks that a search measures. [default: 40; allocate, compress: by layer]")
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default="error",
    show_default=True,
    help="What a search wants: little error of the outputs, agreement with the float model, or accuracy.",
)
@click.option(
    "--budget",
    multiple=True,
    metavar="COST=X,...",
    help="Limits of a search: spikes, synops, memory; up to 1 a share of the plain compilation's.",
)
@click.option("--search-state", type=FILE, help="Keeps measured trials. [default: beside OUT until it is written]")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that share a search's trials.")
@click.option("--cluster", metavar="ADDRESS", help="A dask scheduler, whose workers share them instead.")
@click.option("--force", is_flag=True, help="Replace a build that holds files of yours; they are kept in OUT.")
@_quiet_option
@_json_option
@_guarded
def compile_command(
    model: Path, target: str, output: Path | None, calib: Path | None, input_shape: tuple[str, ...],
    method_option: tuple[str, ...], site: tuple[str, ...], quiet: bool, as_json: bool, strategy: str | None,
    trials: int | None, objective: str, budget: tuple[str, ...], search_state: Path | None, workers: int,
    cluster: str | None, force: bool, **rest: Any,
) -> int:  # fmt: skip
    """Compile MODEL.onnx (the verb may be left out)."""
    search = search_of(strategy, trials, objective, budget, search_state, Machine(workers=workers, cluster=cluster))
    options = Options(targets=names(target), method_options=pairs(method_option), sites=sites(site), **rest).check()
    from ..commands.build import build
    from .terminal import Console

    console = Console(quiet or as_json)
    out = output if output is not None else Path(f"{model.stem}.sfnc")
    with console.progress() as progress:
        built = build(model, out, options, calib, shapes(input_shape), progress, search, force)
    if as_json:
        _print_json({"output": str(out), **built.report})
    else:
        _print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in built.report["warnings"]])
        console.build(built)
    for error in built.refusals.values():
        _print_problems(list(error.diagnostics), as_json)
    return next((e.exit_code for e in built.refusals.values()), 0)


@cli.command("check")
@click.argument("model", type=FILE)
@click.option("--target", default="", help="Also check whether these targets can say the network.")
@click.option("--input-shape", multiple=True, metavar="NAME=1,3,32,32", help="Pins symbolic axes of the input.")
@_json_option
@_guarded
def check_command(model: Path, target: str, input_shape: tuple[str, ...], as_json: bool) -> int:
    """Say what would be mapped or refused, and why; converts nothing."""
    from ..commands.check import check

    found = check(model, names(target), shapes(input_shape))
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        for label, state in found.nodes:
            click.echo(f"{state:8} {label}")
        click.echo(f"{found.n_ok} of {len(found.nodes)} nodes can be mapped")
        if found.tail is not None:
            from .terminal import tail_line

            click.echo(tail_line(found.tail))
        for name in found.targets_ok:
            click.echo(f"target {name}: fits")
        _print_problems(found.problems)
    return found.exit_code


@cli.command("run")
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--input", "data", type=FILE, required=True, help="Inputs, .npz or .npy.")
@click.option("-o", "--output", type=FILE, required=True, help="Where the outputs go (.npz).")
@click.option("--on", default="sim", show_default=True, help="The target that computes them.")
@click.option("--codes", is_flag=True, help="Write the raw integers of every layer instead of real outputs.")
@_threads_option
@_engine_option
@_quiet_option
@_guarded
def run_command(build_folder: Path, data: Path, output: Path, on: str, codes: bool, quiet: bool, **machine: Any) -> int:
    """Run a build on inputs and write its outputs."""
    from ..commands.evaluate import run_build
    from ..files.answers import require_writable, save_outputs

    read = (build_folder, data)
    require_writable(output, read)
    found = run_build(build_folder, data, on, codes, machine=Machine(**machine))
    save_outputs(output, found, read)
    if not quiet:
        click.echo(f"wrote {len(found)} arrays to {output}", err=True)
    return 0


@cli.command("verify")
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, help="Inputs to prove it on. [default: the golden inputs of the build]")
@click.option("--samples", type=int, help="How many of them. [default: 8]")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses them.")
@click.option("--on", help="Targets to verify. [default: all in the build]")
@click.option("--time-limit", type=float, default=1800.0, show_default=True, help="Seconds a target may run.")
@_threads_option
@_engine_option
@_quiet_option
@_json_option
@_guarded
def verify_command(
    build_folder: Path, data: Path | None, samples: int | None, seed: int, on: str | None, time_limit: float,
    quiet: bool, as_json: bool, **machine: Any,
) -> int:  # fmt: skip
    """Prove that every emitted target computes the simulator's integers, layer by layer."""
    from ..commands.verify import verify
    from .terminal import Console

    proof = verify(build_folder, data, samples, None if on is None else names(on), seed, time_limit, Machine(**machine))
    if as_json:
        _print_json(proof.document)
    else:
        Console(quiet).proof(proof.document)
    _print_problems(proof.problems, as_json)
    return max((CODES[d.code].exit_code for d in proof.problems), key=lambda c: (c == 1, c), default=0)


@cli.command("eval")
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, help="Samples, with labels for accuracy.")
@click.option("--samples", type=int, help="Use this many. [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses them.")
@click.option("--on", default="sim", show_default=True, help="The target that computes the spiking network.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that share the samples.")
@click.option("--cluster", metavar="ADDRESS", help="A dask scheduler, whose workers share the samples instead.")
@_threads_option
@_engine_option
@_quiet_option
@_json_option
@_guarded
def eval_command(
    build_folder: Path, data: Path, samples: int | None, seed: int, on: str, quiet: bool, as_json: bool, **machine: Any
) -> int:
    """Measure accuracy and agreement: the float model (onnxruntime) beside the spiking network."""
    from ..commands.evaluate import evaluate
    from .terminal import Console

    console = Console(quiet or as_json)
    with console.progress() as progress:
        found = evaluate(build_folder, data, samples, seed, progress, on, machine=Machine(**machine))
    if as_json:
        _print_json(found)
    else:
        _print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in found["warnings"]])
        console.evaluation(found)
    return 0


@cli.command("bisect")
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, help="Samples to look at.")
@click.option("--samples", type=int, help="Use this many. [default: 32]")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses them.")
@click.option("--limit", type=float, default=BISECT_LIMIT, show_default=True, metavar="DB",
              help="Signal to noise of the outputs that is close enough.")  # fmt: skip
@_quiet_option
@_json_option
@_guarded
def bisect_command(
    build_folder: Path, data: Path, samples: int | None, seed: int, limit: float, quiet: bool, as_json: bool
) -> int:
    """Name the first layer where the spiking network leaves the float model, why, and what to change."""
    from ..commands.bisect import bisect
    from .terminal import Console

    found = bisect(build_folder, data, samples, seed, limit)
    if as_json:
        _print_json(found.document)
    else:
        warnings = found.document["warnings"]
        _print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in warnings])
        Console(quiet).bisection(found.document)
    _print_problems(found.problems, as_json)
    return CODES[found.problems[0].code].exit_code if found.problems else 0


@cli.command("report")
@click.argument("build_folder", metavar="OUT", type=FILE)
@_quiet_option
@_guarded
def report_command(build_folder: Path, quiet: bool) -> int:
    """Write OUT/report.html anew, with accuracy and proof where eval and verify left them."""
    from ..report.page import write_page

    path = write_page(build_folder)
    if not quiet:
        click.echo(f"wrote {path}")
    return 0


@cli.command("ops")
@_json_option
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


@cli.command("targets")
@_json_option
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


@cli.command("explain")
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
