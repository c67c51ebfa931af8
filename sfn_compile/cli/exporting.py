"""Commands that write tables, pictures and metrics of others: ``plot``, ``sweep``, ``metrics``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..commands.request import request_of
from ..foundation.diagnostics import fail
from ..foundation.options import METHOD_NAMES
from .guard import guarded, print_json, progress_of
from .options import COMPILE, JSON, QUIET, SEED, Command, samples_of, takes

FILE = click.Path(path_type=Path)


@click.command("plot", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--layer", help="The layer. [default: errors of all layers]")
@click.option("-o", "--output", type=FILE, required=True, help="The picture, .svg.")
@takes(QUIET)
@guarded
def plot_command(build_folder: Path, layer: str | None, output: Path, quiet: bool) -> int:
    """Draw a layer's values with their thresholds, and how often each code occurs."""
    from ..files import build_folder as folders
    from ..files.answers import require_free, save_text
    from ..report.likeness import read_report
    from ..report.page.standalone import layer_picture

    require_free(output, [build_folder])
    folders.open_build(build_folder, "report")
    save_text(output, layer_picture(read_report(build_folder), layer), [build_folder])
    if not quiet:
        click.echo(f"wrote {output}")
    return 0


def _numbers(kind: Callable[[str], Any], allowed: tuple[str, ...] = ()) -> Callable[..., list[Any]]:
    def read(ctx: click.Context, param: click.Parameter, value: str) -> list[Any]:
        try:
            found = [kind(one.strip()) for one in value.split(",") if one.strip()]
        except ValueError:
            found = []
        if not found or (allowed and not set(found) <= set(allowed)):
            raise click.BadParameter(
                f"{value!r}; values separated by commas{': ' if allowed else ''}{', '.join(allowed)}"
            )
        return list(dict.fromkeys(found))

    return read


@click.command("sweep", cls=Command)
@click.argument("model", type=FILE)
@click.option("--levels", default="3,7,15,31", show_default=True, metavar="N,...", callback=_numbers(int))
@click.option("--method", default="mse", show_default=True, metavar="METHOD,...", callback=_numbers(str, METHOD_NAMES))
@click.option("--weight-bits", default="8", show_default=True, metavar="N,...", callback=_numbers(int))
@click.option("--data", required=True, type=FILE, metavar="DATA", help="Samples that every build is measured on.")
@click.option("--csv", "table", required=True, type=FILE, help="The table; its picture is written beside it, .svg.")
@takes(COMPILE["calib"], COMPILE["input_shapes"], COMPILE["reconstruct"], COMPILE["samples"], QUIET, JSON)
@guarded
def sweep_command(
    model: Path, levels: list[int], method: list[str], weight_bits: list[int], data: Path, table: Path, quiet: bool,
    as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Build a network with several levels and methods, measure each on the same data, write a table and a picture.

    A table that is called as its picture would be is wrong usage (SFN605).
    """
    from ..commands.sweep import COLUMNS, sweep
    from ..files.answers import require_free, save_text
    from ..report.page.standalone import sweep_picture
    from ..report.tables import csv_text

    asked, picture = request_of(given), table.with_suffix(".svg")
    if picture == table:
        raise fail("SFN605", f"--csv {table}: the picture is called so", fix="--csv sweep.csv")
    for place in (table, picture):
        require_free(place, [model, data])
    with progress_of(quiet or as_json) as progress:
        rows = list(sweep(model, asked.options, data, levels, method, weight_bits, asked.data,
                          asked.arguments.input_shapes, None, progress))  # fmt: skip
    save_text(table, csv_text(COLUMNS, rows), [model, data])
    save_text(picture, sweep_picture(rows), [model, data])
    if as_json:
        print_json({"rows": rows})
    elif not quiet:
        click.echo(f"wrote {len(rows)} rows to {table}, drawn in {picture}")
        click.echo(csv_text(COLUMNS, rows), nl=False)
    return 0


@click.command("metrics", cls=Command)
@click.argument("build_folder", metavar="OUT", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Samples that activity is counted on.")
@takes(samples_of("256"), SEED, JSON)
@guarded
def metrics_command(build_folder: Path, data: Path, samples: int | None, seed: int, as_json: bool) -> int:
    """Print NeuroBench's metrics by its definitions: footprint, sparsities, synaptic operations."""
    from ..commands.metrics import metrics

    found = metrics(build_folder, data, samples or 256, seed)
    if as_json:
        print_json(found)
        return 0
    ops = found["synaptic_operations"]
    counts = f"{ops['effective_acs']:,.0f} ACs and {ops['effective_macs']:,.0f} MACs of {ops['dense']:,.0f}"
    click.echo(f"footprint {found['footprint']:,} bytes, {counts} per sample, on {found['samples']} samples")
    click.echo(f"connection sparsity {found['connection_sparsity']:.4f}")
    click.echo(f"activation sparsity {found['activation_sparsity']:.4f}")
    return 0
