"""The options of the command line, made from their declarations; help in panels, as rich-click draws them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich_click import RichCommand
from rich_click.rich_panel import RichOptionPanel
from rich_click.rich_parameter import RichOption

from ..commands.request import compile_options, prepared
from ..evaluation.gates import Gates
from ..foundation.declaration import GROUPS, Option, held_by, options_of, read_all
from ..foundation.options import Machine, Options, Selection
from ..foundation.preparation import Preparation, read_given
from ..foundation.task_options import TaskOptions
from ..hardware.names import PLANS
from ..targets.target_options import declared_by_all

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

STYLE = {  # no boxes: columns that are readable in a pipe, too, where there are no colours unless FORCE_COLOR asks
    "theme": "cyan2-slim",
    "default_string": "\\[default: {}]",
    "max_width": 110,
    "force_terminal": None,
}
METAVARS: dict[type | None, str] = {int: "N", float: "X", str: "TEXT", Path: "FILE", None: "TEXT"}
LONGEST_CHOICES = 26  # characters of a list of choices that is behind an option's name
ALIASES = "sfn_compile.aliases"

JSON = Option("Print data instead of text.", "output", "as_json", False, flags=("--json",))
QUIET = Option("Print errors only.", "output", "quiet", False, flags=("--quiet", "-q"))
JUNIT = Option("Also write a JUnit XML file, a test case per check.", "output", "junit", kind=Path, flags=("--junit",),
               metavar="FILE")  # fmt: skip
MARKDOWN = Option("Print Markdown for the summary of a job instead of text.", "output", "markdown", False,
                  flags=("--markdown",))  # fmt: skip
FOR_JOBS = (JUNIT, MARKDOWN)
OUTPUT = Option("Build folder.", "output", "output", kind=Path, flags=("--output", "-o"), metavar="FOLDER",
                unset="MODEL without .onnx, plus .sfnc")  # fmt: skip

COMPILE = {o.name: o for o in (*compile_options(), OUTPUT, QUIET, JSON, *FOR_JOBS)}
# Whatever decides what is mapped: all but the folder that compile writes and what only a search takes.
PREPARATION = options_of(Preparation)
TASK = options_of(TaskOptions)
_DECIDING = {o.name for o in (*options_of(Options), *PREPARATION)} | {"calib", "input_shapes"}
_ASKED_TARGETS = replace(COMPILE["targets"], default=(), help="Also check whether these targets can say the network.")
CHECK = tuple(_ASKED_TARGETS if o.name == "targets" else o for o in COMPILE.values() if o.name in _DECIDING)

FIT = (
    Option("The chip: one of the package, with :BOARD behind it if you like, or a file of yours.", name="hardware",
           metavar="CHIP|FILE.toml", kind=str, default="loihi2"),
    Option("Which split the core map shows: as the vendor's compiler, fewest cores, or balanced for speed.",
           name="split", default="vendor", choices=PLANS),
    Option("Words that a neuron takes in the core map.", name="state_words", kind=float | None, lowest=1,
           unset="the chip's least; all counts are given for its most, too"),
    COMPILE["host_work"],
    Option("Print a line per core as CSV.", name="as_csv", default=False, flags=("--csv",)),
)  # fmt: skip

_MACHINE = {o.name: o for o in options_of(Machine)}
_SELECTION = {o.name: o for o in options_of(Selection)}
SIMULATOR = (_MACHINE["threads"], _MACHINE["engine"])
PROCESSES = (_MACHINE["workers"], _MACHINE["cluster"])
SEED = _SELECTION["seed"]
GATES = options_of(Gates)


def samples_of(unset: str) -> Option:
    """Return ``--samples`` of a command that uses so many of them without it."""
    return replace(_SELECTION["samples"], unset=unset)


def data_given(what: Any, rest: dict[str, Any], flag: str) -> Any:
    """Return data with how they are to be prepared, which is taken out of the ``rest`` of a command's options."""
    said = read_all(PREPARATION, {o.name: rest.pop(o.name) for o in PREPARATION})
    return prepared(read_given(what), Preparation(**held_by(Preparation, said)).check(), flag)


class Command(RichCommand):
    """A command whose help rich-click draws."""

    def __init__(self, *args: Any, context_settings: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, context_settings={"rich_help_config": STYLE, **(context_settings or {})}, **kwargs)


class TargetsCommand(Command):
    """A command that takes the options of all installed targets, by ``--target-option`` and by their aliases.

    What back ends declare is read once per call, which takes milliseconds and imports none of them.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, those of the targets among them."""
        found = super().get_params(ctx)
        if ALIASES not in ctx.meta:
            ctx.meta[ALIASES] = _of_targets(found)
        listed, aliases = ctx.meta[ALIASES]
        at = next(i for i, p in enumerate(found) if p.name == listed.name)
        return [*found[:at], listed, *aliases.values(), *found[at + 1 :]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; the value of an alias becomes one more ``--target-option``."""
        rest = super().parse_args(ctx, args)
        for name, alias in ctx.meta[ALIASES][1].items():
            value = ctx.params.pop(str(alias.name), None)
            if value is not None:
                ctx.params["target_options"] = (*ctx.params["target_options"], f"{name}={value}")
        return rest


def _of_targets(params: list[click.Parameter]) -> tuple[click.Parameter, dict[str, click.Parameter]]:
    """Return ``--target-option`` with the options of all targets in its help, and their aliases by ``TARGET.NAME``.

    An alias that the command or another target has already is not taken.
    """
    known, problems = declared_by_all()
    listed = copy(next(p for p in params if isinstance(p, RichOption) and p.name == "target_options"))
    taken = {spelling for p in params for spelling in (*p.opts, *p.secondary_opts, p.name)}
    aliases: dict[str, click.Parameter] = {}
    lines = []
    for name, o in known.items():
        alias = _alias(name, o, listed.panel)
        free = o.flags and not taken & {*alias.opts, alias.name}
        lines.append(f"{name} ({o.flag})" if free else f"{name}: {help_of(o)}")
        if free:
            taken |= {*alias.opts, alias.name}
            aliases[name] = alias
    listed.help = " ".join((f"{listed.help} There are:", "; ".join(lines) or "none", *problems))
    return listed, aliases


def _alias(name: str, o: Option, panel: str | list[str] | None) -> RichOption:
    """Return the command line's own option for an option of a target, which is called ``TARGET.NAME``."""
    python = o.flag.lstrip("-").replace("-", "_")
    help = f"{o.help} The same as --target-option {name}."
    own = replace(o, name=python, group="targets", default=None, kind=o.scalar, unset=f"{o.default}", help=help)
    spellings, says = _as_click_has_it(own)
    return RichOption(spellings, panel=panel, **says)


def help_of(o: Option) -> str:
    """Return an option's help for the terminal: what it does, its choices, its default."""
    said_already = all(word in o.help for word in o.choices) or metavar_of(o) == "|".join(o.choices)
    choices = "" if said_already else f" One of {', '.join(o.choices)}."
    default = f" [default: {said}]" if (said := default_of(o)) else ""
    return f"{o.help}{choices}{default}"


def default_of(o: Option) -> str:
    """Return what happens without an option, as the command line says it."""
    if o.unset or o.default is None or o.default is False or isinstance(o.default, dict):
        return o.unset
    if o.default is True:
        return o.flag.lstrip("-")
    return ",".join(o.default) if isinstance(o.default, tuple) else f"{o.default}"


def metavar_of(o: Option) -> str:
    """Return what stands for an option's value."""
    listed = "|".join(o.choices)
    if o.metavar or (listed and len(listed) <= LONGEST_CHOICES):
        return o.metavar or listed
    if o.lowest is not None and o.highest is not None:
        return f"{o.lowest:g}..{o.highest:g}"
    return METAVARS[o.scalar]


def takes(*options: Option, grouped: bool = False) -> Decorator:
    """Return a decorator that gives a command these options, in this order; ``grouped``: in panels by their groups."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for o in reversed(options):
            spellings, says = _as_click_has_it(o)
            panel = o.group.title() if grouped else None
            command = click.option(*spellings, cls=RichOption, panel=panel, **says)(command)
        return command

    return add


def panels() -> list[RichOptionPanel]:
    """Return the panels of the help of a command with many options: one per group."""
    return [RichOptionPanel(group.title(), ["--help"] if group == "output" else []) for group in GROUPS]


def _as_click_has_it(o: Option) -> tuple[list[str], dict[str, Any]]:
    """Return the spellings and the settings of an option."""
    says: dict[str, Any] = {"help": help_of(o), "default": o.default}
    others = [f for f in o.flags if f != o.flag]
    if o.scalar is bool:
        pair = o.flag if o.default is False else f"{o.flag}/--no-{o.flag[2:]}"
        return [pair, *others, o.name], {**says, "is_flag": True}
    says |= {"type": _type(o), "metavar": metavar_of(o), "multiple": o.multiple}
    if o.alone:
        says |= {"is_flag": False, "flag_value": o.alone}
    if o.multiple or isinstance(o.default, tuple):
        says["default"] = () if o.multiple else ",".join(o.default)
    return [o.flag, *others, o.name], says


def _type(o: Option) -> Any:
    if o.choices:
        return click.Choice(o.choices)
    if o.scalar is Path:
        return click.Path(path_type=Path)
    return str if o.read is not None or o.scalar is None else o.scalar
