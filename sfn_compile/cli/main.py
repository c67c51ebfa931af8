"""The command line: parses, calls the driver, prints. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import json
import logging
from pathlib import Path
from typing import Any

import click

from ..commands.request import request_of
from ..foundation.codes import CODES, EXIT_USAGE
from ..foundation.declaration import held_by, read_all
from ..foundation.diagnostics import Diagnostic
from ..foundation.option_values import read_names
from ..foundation.options import BISECT_LIMIT, Machine, Options
from ..foundation.task_options import TaskOptions
from ..foundation.version import __version__
from .comparing import diff_command, schema_command
from .exporting import metrics_command, plot_command, sweep_command
from .guard import guarded, print_json, print_problems, progress_of, worst
from .job_outputs import tell
from .options import (
    CHECK,
    COMPILE,
    FIT,
    FOR_JOBS,
    GATES,
    JSON,
    PREPARATION,
    PROCESSES,
    QUIET,
    SEED,
    SIMULATOR,
    TASK,
    Command,
    TargetsCommand,
    data_given,
    panels,
    samples_of,
    takes,
)

FILE = click.Path(path_type=Path)
AT_THE_END = "SFN407"  # what a build tells of its quality is behind its table


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
    sfnc fit out --hardware loihi2                                    does it fit a chip, how fast, at what cost
    sfnc report out                                                   everything on one page, out/report.html
    """


@cli.command("compile", cls=TargetsCommand, panels=panels())
@click.argument("model", type=FILE)
@takes(*COMPILE.values(), grouped=True)
@guarded
def compile_command(model: Path, output: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Compile MODEL.onnx (the verb may be left out)."""
    asked = request_of(given)
    from ..commands.unchanged import asked_for, earlier_build

    out = output if output is not None else Path(f"{model.stem}.sfnc")
    beside, shapes = asked.arguments, dict(asked.arguments.input_shapes)
    request = asked_for(model, asked)
    earlier = None if beside.rebuild else earlier_build(model, out, request)
    if earlier is not None:
        return _unchanged(out, earlier, quiet, as_json)
    from ..commands.build import build
    from ..commands.fit import wanted
    from .terminal import Console

    console = Console(quiet or as_json)
    chip = wanted(beside.hardware, beside.host_work)
    with progress_of(quiet or as_json) as progress:
        built = build(model, out, asked.options, asked.data, shapes, progress, asked.search, beside.force, chip,
                      request)  # fmt: skip
    if as_json:
        print_json({"output": str(out), **built.report})
    else:
        said = [Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in built.report["warnings"]]
        print_problems([w for w in said if w.code != AT_THE_END])
        console.build(built)
        print_problems([w for w in said if w.code == AT_THE_END])
    refused = [d for error in built.refusals.values() for d in error.diagnostics]
    print_problems(refused, as_json)
    tell("compile", out, {"output": str(out), **built.report}, refused)
    return next((e.exit_code for e in built.refusals.values()), 0)


def _unchanged(out: Path, report: dict[str, Any], quiet: bool, as_json: bool) -> int:
    """Say that a build is there already, and again what it warned of."""
    from .plain_lines import unchanged_lines

    document = {"output": str(out), "unchanged": True, **report}
    if as_json:
        print_json(document)
    else:
        print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in report["warnings"]])
        for line in () if quiet else unchanged_lines(out, report):
            click.echo(line)
    tell("compile", out, document, [])
    return 0


@cli.command("check", cls=TargetsCommand, panels=panels())
@click.argument("model", type=FILE)
@takes(*CHECK, QUIET, JSON, grouped=True)
@guarded
def check_command(model: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Say what compile would map or refuse, and why; converts nothing."""
    asked = read_all(CHECK, given)
    calib = data_given(asked.pop("calib"), asked, "--calib")
    targets, shapes = (asked.pop(name) for name in ("targets", "input_shapes"))
    options = Options(**held_by(Options, asked))
    from ..commands.check import check
    from .plain_lines import check_lines

    with progress_of(quiet or as_json) as progress:
        found = check(model, options, targets, calib, dict(shapes), progress)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
        return found.exit_code
    for line in () if quiet else check_lines(found):
        click.echo(line)
    print_problems(found.problems)
    return found.exit_code


@cli.command("run", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--input", "data", type=FILE, required=True, metavar="DATA", help="Inputs, as for compile --calib.")
@click.option("-o", "--output", type=FILE, required=True, help="Where the outputs go (.npz).")
@click.option("--on", default="sim", show_default=True, help="The target that computes them.")
@click.option("--codes", is_flag=True, help="Write the raw integers of every layer instead of real outputs.")
@takes(*PREPARATION, *SIMULATOR, QUIET)
@guarded
def run_command(build_folder: Path, data: Path, output: Path, on: str, codes: bool, quiet: bool, **rest: Any) -> int:
    """Run a build on inputs and write its outputs."""
    from ..commands.running import run_build
    from ..files.answers import require_writable, save_outputs

    read = (build_folder, data)
    require_writable(output, read)
    given = data_given(data, rest, "--input")
    with progress_of(quiet) as progress:
        found = run_build(build_folder, given, on, codes, machine=Machine(**rest), progress=progress)
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
@click.option("--against", type=FILE, metavar="OTHER", help="A build whose integers the counts over time must equal.")
@takes(*PREPARATION, *SIMULATOR, QUIET, JSON, *FOR_JOBS)
@guarded
def verify_command(
    build_folder: Path, data: Path | None, samples: int | None, seed: int, on: str | None, time_limit: float,
    against: Path | None, quiet: bool, as_json: bool, **rest: Any,
) -> int:  # fmt: skip
    """Prove that every emitted target computes the simulator's integers, layer by layer."""
    from ..commands.verify import verify
    from .terminal import Console

    targets, console = None if on is None else read_names(on), Console(quiet or as_json)
    given = data_given(data, rest, "--data")
    with progress_of(quiet) as progress:
        proof = verify(build_folder, given, samples, targets, seed, time_limit, Machine(**rest), progress, against)
    if as_json:
        print_json(proof.document)
    else:
        console.proof(proof.document)
    print_problems(proof.problems, as_json)
    tell("verify", build_folder, proof.document, proof.problems)
    return worst(proof.problems)


@cli.command("eval", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Samples, with labels for accuracy.")
@takes(samples_of("all"), SEED, *PREPARATION)
@click.option("--on", default="sim", show_default=True, help="The target that computes the spiking network.")
@takes(*TASK, *GATES)
@takes(*PROCESSES)
@takes(*SIMULATOR, QUIET, JSON, *FOR_JOBS)
@guarded
def eval_command(
    build_folder: Path, data: Path, samples: int | None, seed: int, on: str, quiet: bool, as_json: bool, **others: Any
) -> int:
    """Measure accuracy and agreement: the float model (onnxruntime) beside the spiking network."""
    from ..commands.evaluate import evaluate
    from ..evaluation.gates import Gates, problems
    from .terminal import Console

    console, given = Console(quiet or as_json), data_given(data, others, "--data")
    read = read_all((*TASK, *GATES, *PROCESSES, *SIMULATOR), others)
    gates, machine = Gates(**held_by(Gates, read)), Machine(**held_by(Machine, read))
    task = TaskOptions(**held_by(TaskOptions, read))
    with progress_of(quiet or as_json) as progress:
        found = evaluate(build_folder, given, samples, seed, progress, on, machine=machine, gates=gates, tasks=task)
    if as_json:
        print_json(found)
    else:
        print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in found["warnings"]])
        console.evaluation(found)
    failed = problems(found["gates"], found["data"]["source"], "`sfnc bisect OUT --data FILE` names a layer to change")
    print_problems(failed, as_json)
    tell("eval", build_folder, found, failed)
    return worst(failed)


@cli.command("bisect", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Samples to look at.")
@takes(samples_of("32"), SEED)
@click.option("--limit", type=float, default=BISECT_LIMIT, show_default=True, metavar="DB",
              help="Signal to noise of the outputs that is close enough.")  # fmt: skip
@takes(*PREPARATION, QUIET, JSON, *FOR_JOBS)
@guarded
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

    given = data_given(data, rest, "--data")
    with progress_of(quiet or as_json) as progress:
        found = bisect(build_folder, given, samples, seed, limit, progress)
    if as_json:
        print_json(found.document)
    else:
        warnings = found.document["warnings"]
        print_problems([Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in warnings])
        Console(quiet).bisection(found.document)
    print_problems(found.problems, as_json)
    tell("bisect", build_folder, found.document, found.problems)
    return CODES[found.problems[0].code].exit_code if found.problems else 0


@cli.command("fit", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@takes(*FIT, QUIET, JSON)
@guarded
def fit_command(build_folder: Path, as_csv: bool, quiet: bool, as_json: bool, **given: Any) -> int:
    """Say whether a build fits a chip, where its neurons would be, how long a step would take and at what cost."""
    from ..commands.fit import fit
    from .fit_lines import csv_lines, fit_lines

    found = fit(build_folder, **given)
    if as_json:
        print_json(found.document)
        return found.exit_code
    for line in csv_lines(found.document) if as_csv else () if quiet else fit_lines(found.document):
        click.echo(line)
    print_problems([*found.problems, *(() if quiet or as_csv else found.warnings)])
    return found.exit_code


@cli.command("report", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--csv", "table", type=FILE, help="Also write the layers as a table.")
@takes(QUIET)
@guarded
def report_command(build_folder: Path, table: Path | None, quiet: bool) -> int:
    """Write OUT/report.html anew, with accuracy and proof where eval and verify left them."""
    from ..report.page.document import write_page

    path = write_page(build_folder)
    if table is not None:
        from ..files.answers import save_text
        from ..report.likeness import read_report
        from ..report.tables import LAYER_COLUMNS, csv_text

        save_text(table, csv_text(LAYER_COLUMNS, read_report(build_folder)["layers"]), [build_folder])
    if not quiet:
        click.echo(f"wrote {path}")
    return 0


@cli.command("ops", cls=Command)
@takes(JSON)
@guarded
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
@guarded
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
@guarded
def explain_command(code: str) -> int:
    """Print the help page of an error code (SFN...)."""
    found = CODES.get(code.upper())
    if found is None:
        click.echo(f"no code {code!r}; there are: {' '.join(CODES)}", err=True)
        return EXIT_USAGE
    click.echo(f"{code.upper()}: {found.title}\n\n{found.page}\n\nexit code: {found.exit_code}")
    return 0


cli.add_command(diff_command)
cli.add_command(schema_command)
cli.add_command(plot_command)
cli.add_command(sweep_command)
cli.add_command(metrics_command)


def main() -> None:
    """Entry point of ``sfnc``."""
    for library in ("onnx_ir", "onnxscript"):  # what they warn of is checked here, and told as a diagnostic
        logging.getLogger(library).setLevel(logging.CRITICAL)
    gc.set_threshold(50_000)  # importing what is needed makes many objects that stay
    cli(prog_name="sfnc")


if __name__ == "__main__":
    main()
