"""From decoded values to the model's outputs: nothing more to do, or the host's tail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..files import sealed
from ..files.build_folder import head_cuts
from ..foundation.diagnostics import fail
from ..foundation.samples import Samples
from ..frontend.tail_cut import HostTail
from ..program.network import Program

if TYPE_CHECKING:
    from .tail_runner import TailRunner

Array = NDArray[Any]
Answers = dict[str, Any]
FILE = "host_tail.onnx"
STACKED, EACH = "stacked", "each"


@dataclass(frozen=True, eq=False)
class Ending:
    """``outputs`` are the model's, in its own order; ``tail`` computes those that are not decoded from the network."""

    outputs: tuple[str, ...]
    tail: TailRunner | None = None

    @property
    def each(self) -> frozenset[str]:
        """The outputs whose shape differs from sample to sample."""
        return frozenset(n for n, stacks in self.tail.stacks.items() if not stacks) if self.tail else frozenset()

    def answers(self, decoded: Mapping[str, Array], x: Samples, n: int) -> Answers:
        """Return the model's outputs for ``n`` samples, from the decoded values in their own types.

        An output is an array ``(n, ...)``, or a tuple of one array per sample where it is in :attr:`each`.
        """
        made = self.tail.run({**x, **decoded}, n) if self.tail else {}
        return {name: made[name] if name in made else decoded[name] for name in self.outputs}


def ending_of(outputs: Iterable[str], tail: HostTail | None) -> Ending:
    """Return the ending of a model that was just compiled."""
    from .tail_runner import TailRunner

    return Ending(tuple(outputs), None if tail is None else TailRunner(tail.model, tail.outputs))


def open_ending(folder: Path, manifest: Mapping[str, Any], program: Program) -> Ending:
    """Return the ending of a build. Raises SFN503 where its tail is not the file that compile wrote."""
    facts = manifest.get("host_tail")
    if facts is None:
        return Ending(tuple(d.name for d in program.outputs))
    sealed.require(folder, manifest, "host tail")
    stacks = {name: how == STACKED for name, how in facts["outputs"].items()}
    from .tail_runner import TailRunner

    runner = TailRunner((folder / FILE).read_bytes(), stacks)
    known = {d.name for d in program.outputs} | {i["name"] for i in manifest["model"]["inputs"]}
    known |= {c.name for c in head_cuts(manifest)}
    strange = sorted(
        (set(runner.inputs) - known)
        | (stacks.keys() - runner.kinds.keys())
        | (runner.kinds.keys() - set(facts["model_outputs"]))
    )
    if strange:
        raise fail("SFN503", f"{FILE} and the network do not share {strange[0]!r}", str(folder), "compile again")
    return Ending(tuple(facts["model_outputs"]), runner)


def facts(outputs: Iterable[str], tail: HostTail | None) -> dict[str, Any] | None:
    """Return what manifest and report say of a tail, None where there is none."""
    if tail is None:
        return None
    return {
        "nodes": list(tail.nodes), "cut": list(tail.cuts), "inputs": list(tail.inputs),
        "outputs": {name: STACKED if stacks else EACH for name, stacks in tail.outputs.items()},
        "model_outputs": list(outputs),
    }  # fmt: skip


def named(answers: Answers) -> dict[str, Array]:
    """Return answers as they are stored: output ``name`` of sample i as ``name/i`` where shapes differ."""
    found: dict[str, Array] = {}
    for name, value in answers.items():
        found |= {f"{name}/{i}": one for i, one in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return found
