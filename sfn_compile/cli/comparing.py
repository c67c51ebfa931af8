"""Commands that compare builds, or say what documents hold: ``diff``, ``schema``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..foundation.codes import EXIT_USAGE
from .guard import guarded, print_json, print_problems, worst
from .job_outputs import tell
from .options import FOR_JOBS, JSON, QUIET, Command, takes

FILE = click.Path(path_type=Path)


@click.command("diff", cls=Command)
@click.argument("first", metavar="A", type=FILE)
@click.argument("second", metavar="B", type=FILE)
@click.option("--fail-on-change", is_flag=True, help="End with exit status 1 where they are not the same network.")
@takes(QUIET, JSON, *FOR_JOBS)
@guarded
def diff_command(first: Path, second: Path, fail_on_change: bool, quiet: bool, as_json: bool) -> int:
    """Compare two builds: options, files, layers whose integers changed, accuracy, energy."""
    from ..commands.diff import diff
    from .diff_lines import diff_lines

    found = diff(first, second)
    if as_json:
        print_json(found.document)
    elif not quiet:
        for line in diff_lines(found.document):
            click.echo(line)
    problems = found.problems if fail_on_change else []
    print_problems(problems, as_json)
    tell("diff", second, found.document, problems)
    return worst(problems)


@click.command("schema", cls=Command)
@click.argument("name", required=False)
@guarded
def schema_command(name: str | None) -> int:
    """Print the JSON Schema of a document; without NAME, list them."""
    from ..commands.schemas import schemas

    known = schemas()
    if name is None:
        for one, schema in known.items():
            click.echo(f"{one:12} {schema['title']}")
        return 0
    if name not in known:
        click.echo(f"no schema {name!r}; there are: {' '.join(known)}", err=True)
        return EXIT_USAGE
    click.echo(json.dumps(known[name], indent=1))
    return 0
