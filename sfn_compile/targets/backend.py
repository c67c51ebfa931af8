"""What a target is to the compiler: a small protocol, found through the entry-point group ``sfnc.backends``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..program.network import AdaptiveName, FormName, MapName, MoveName, Program
from .placement import Placed, Placement, Shard

__all__ = [
    "GROUP", "Backend", "Capabilities", "Placed", "Placement", "Placing", "RunRequest", "RunResult", "Shard", "load",
    "names",
]  # fmt: skip

Array = NDArray[Any]
GROUP = "sfnc.backends"


@dataclass(frozen=True)
class Capabilities:
    """What a target can say, as data: names of the classes of :mod:`sfn_compile.program.network`, and limits.

    ``moves``: all Move classes (``program.MOVES``) where the target takes moves as they are; otherwise every move is
    folded into projections before emission and only a Reshape to one axis is left (:mod:`.targets.legalize`).
    ``acc_bits``: widest accumulator, sign included. ``note``: one line for ``sfnc targets``. ``products``: names of
    the forms of :class:`.network.Product` that the target can say; by default it has none. ``adaptive``:
    names of what has thresholds that follow a row (RowTable, Ratio, Normalization), by default none; ``row_bits``: the
    widest integer on the way to such a code, sign included. ``clocked``: whether it runs a Program over several
    timesteps; what it cannot say of one it refuses itself (SFN610).
    """

    projections: frozenset[MapName]
    moves: frozenset[MoveName]
    max_pool: bool
    acc_bits: int
    weight_bits: int
    note: str = ""
    products: frozenset[FormName] = frozenset()
    adaptive: frozenset[AdaptiveName] = frozenset()
    row_bits: int = 0
    clocked: bool = False


@dataclass(frozen=True)
class RunResult:
    """Integers a target computed: ``values`` by Program value name, each ``(n, *shape)``; not all need be there.

    With a clock: as :func:`~.run.run_codes` has them over all steps, and ``potentials``, by population, what each has
    summed up at the end (:func:`~.run_clock.final_charges`), where the target shows it.

    ``mode`` is ``whole`` (the network ran from its inputs) or ``layerwise`` (each layer was fed golden inputs).
    ``readers``: further independent programs that ran the same files: {name, version, compared, different, ...}.
    ``notes``: what a person should know of this run, such as readers that were not there.
    """

    values: Mapping[str, Array]
    executed_by: str
    mode: str = "whole"
    potentials: Mapping[str, Array] = field(default_factory=dict)
    readers: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRequest:
    """Input codes by value name ``(n, *shape)``, of frames ``(n, timesteps, *shape)``.

    ``golden`` holds every value of the simulator for layerwise runs.

    ``wanted`` names the values that are needed (None: every one): a target may leave out the others.
    """

    inputs: Mapping[str, Array]
    golden: Mapping[str, Array] = field(default_factory=dict)
    time_limit: float = 600.0
    wanted: frozenset[str] | None = None


class Backend(Protocol):
    """A target. Implementations are stateless; one instance is made per use."""

    name: str
    capabilities: Capabilities

    def available(self) -> str | None:
        """Return None where the target can execute here, else why not with the command that installs it."""

    def emit(self, program: Program, folder: Path, options: Mapping[str, Any]) -> None:
        """Write the target's files into the existing empty ``folder``, deterministically.

        ``program`` is legalised for :attr:`capabilities` and within their widths. ``options``: the value of each
        option that the target declares (:mod:`.target_options`), by its name. Raises CompileError (SFN401, SFN402,
        SFN403) where the network does not fit.
        """

    def reload(self, folder: Path) -> Program:
        """Return the exact inverse of :meth:`emit` (equal digests), read from the target's own files."""

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Execute the emitted files, and nothing else, on input codes. Raises CompileError (SFN601, SFN603)."""


@runtime_checkable
class Placing(Backend, Protocol):
    """A target with cores: it says where neurons are, and is told so again when it writes. Others have one core."""

    def place(self, program: Program, options: Mapping[str, Any]) -> Placement:
        """Return the shards of every population, normalisation and max pool of the legal ``program``, in its order.

        Deterministic. Raises CompileError (SFN401, SFN402, SFN403) where the cores do not hold the network.
        """

    def emit(
        self, program: Program, folder: Path, options: Mapping[str, Any], placement: Placement | None = None
    ) -> None:
        """Write the files as :meth:`Backend.emit` does, for what :meth:`place` returned, which is always given."""


def names() -> list[str]:
    """Return the names of the registered back ends, sorted, without importing any."""
    return sorted({e.name for e in entry_points(group=GROUP)})


def load(name: str) -> Backend:
    """Return the back end called ``name``. Raises SFN604 for an unknown name or one that two packages claim."""
    found = [e for e in entry_points(group=GROUP) if e.name == name]
    owners = {e.value for e in found}
    if not found:
        raise fail("SFN604", f"no target called {name!r}", fix=f"known targets: {', '.join(names())}")
    if len(owners) > 1:
        raise fail("SFN604", f"target {name!r} is claimed by several packages: {', '.join(sorted(owners))}")
    backend: Backend = found[0].load()()
    return backend
