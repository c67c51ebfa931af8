"""What one compilation is asked for, read: the same options, by the same names, from the command line and Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..foundation.declaration import GROUPS, Option, held_by, option, options_of, read_all
from ..foundation.diagnostics import fail
from ..foundation.option_values import read_shapes
from ..foundation.options import Machine, Options
from ..foundation.preparation import AS_RECORDED, Given, Preparation, read_given
from ..search.plan import Search, strategy_of


@dataclass(frozen=True)
class Arguments:
    """What a compilation takes beside the model and the options of the network."""

    # fmt: off
    calib: Any = option(
        None, "Calibration data: .npz, .npy, .csv, a folder of images or of event recordings, or module:function that "
        "yields batches.",
        "input", metavar="DATA", read=read_given, accepts="DataLike | None", unset="random inputs, with a warning",
        note="In Python also arrays, `(x, labels)`, arrays by input name, and batches: a DataLoader, a generator, a "
        "function. Of batches 512 samples are taken where `samples` does not say.")
    input_shapes: Mapping[str, tuple[int, ...]] = option(
        {}, "Pins symbolic axes of the input.", "input", flags=("--input-shape",), metavar="NAME=1,3,32,32",
        read=read_shapes, accepts="Mapping[str, Sequence[int]]")
    hardware: str | None = option(
        None, "Refuse what can never fit this chip; `sfnc fit` has the details.", "hardware", metavar="CHIP|FILE.toml",
        unset="no chip is asked",
        note="A chip of the package (`loihi2`, `loihi1`), one with a board (`loihi2:kapoho-point`), or [a file of "
        "yours](chips.md). Exit status 4; else `fit.json` holds cores, placement and estimates.")
    host_work: bool = option(
        False, "With --hardware: count what no core is known to compute as work of the host.", "hardware",
        note="Max pools, products, softmax, normalisation.")
    force: bool = option(False, "Replace a build that holds files of yours; they are kept in it.", "output")
    rebuild: bool = option(
        False, "Compile even where OUT is this very build already.", "output",
        note="Without it, where model, data, options and versions are the same and every sealed file of OUT is as "
        "compile wrote it, nothing is done. Data from a function or from memory, and a search, are compiled anew.")
    # fmt: on


DECLARED = (Arguments, Preparation, Options, Search, Machine)


@dataclass(frozen=True)
class Request:
    """A compilation as it was asked for."""

    options: Options = field(default_factory=Options)
    arguments: Arguments = field(default_factory=Arguments)
    search: Search | None = None
    preparation: Preparation = AS_RECORDED

    @property
    def data(self) -> Given | None:
        """The calibration data. Raises SFN605 where there are none to prepare."""
        return prepared(self.arguments.calib, self.preparation, "--calib")


def compile_options() -> tuple[Option, ...]:
    """Return every option of a compilation that Python has too, in the order of :data:`~declaration.GROUPS`."""
    found = [o for declaring in DECLARED for o in options_of(declaring) if o.group]
    return tuple(sorted(found, key=lambda o: GROUPS.index(o.group)))


def request_of(given: Mapping[str, Any]) -> Request:
    """Return what is asked for by ``given``, values by the names of the options.

    Raises SFN605 for a name that no option has and for a value that is not accepted, SFN704 for a search that is not
    installed.
    """
    read = read_all(compile_options(), given)
    options = Options(**held_by(Options, read)).check()
    preparation = Preparation(**held_by(Preparation, read)).check()
    return Request(options, Arguments(**held_by(Arguments, read)), _search(read), preparation)


def prepared(what: Any, preparation: Preparation, flag: str) -> Given | None:
    """Return data with how they are to be prepared, None where none are given. Raises SFN605."""
    if what is None and (said := preparation.said()):
        raise fail("SFN605", f"{said} without {flag}", fix=f"give the data with {flag}")
    return None if what is None else Given(what, preparation)


def _search(read: Mapping[str, Any]) -> Search | None:
    """Return the search that was asked for, if any. Raises SFN605, SFN704."""
    asked, machine = held_by(Search, read), Machine(**held_by(Machine, read))
    strategy = asked.pop("strategy", None)
    others = machine != Machine() or any(asked[o.field] != o.default for o in options_of(Search) if o.field in asked)
    if isinstance(strategy, Search):
        if others:
            raise fail("SFN605", "options of a search beside a Search", fix="say them in the Search")
        return strategy.check()
    if strategy is None:
        if others:
            raise fail("SFN605", "options of a search without --search", fix="add --search")
        return None
    name, substitute = strategy_of(strategy)
    return Search(name, machine=machine, substitute=substitute, **asked).check()
