"""From samples of the model's inputs to those of the network's: the same, or what the host's head makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import sealed
from ..files.build_folder import head_cuts
from ..foundation.diagnostics import fail
from ..foundation.samples import Samples
from ..frontend.head_cut import HostHead

if TYPE_CHECKING:
    from .head_runner import HeadRunner

FILE = "host_head.onnx"
PART = "host head"


@dataclass(frozen=True, eq=False)
class Beginning:
    """``head`` computes those inputs of the network that are none of the model."""

    head: HeadRunner | None = None

    def samples(self, x: Samples) -> Samples:
        """Return the samples ``x`` of the model's inputs, and beside them what the head makes of them, by name."""
        return x if self.head is None else {**x, **self.head.run(x)}


def beginning_of(head: HostHead | None) -> Beginning:
    """Return the beginning of a model that was just compiled."""
    from .head_runner import HeadRunner

    return Beginning() if head is None else Beginning(HeadRunner(head.model, head.cuts, head.batch))


def open_beginning(folder: Path, manifest: Mapping[str, Any]) -> Beginning:
    """Return the beginning of a build. Raises SFN503 where its head is not the file that compile wrote."""
    stated = manifest.get("host_head")
    if stated is None:
        return Beginning()
    sealed.require(folder, manifest, PART)
    from .head_runner import HeadRunner

    runner = HeadRunner((folder / FILE).read_bytes(), head_cuts(manifest), stated["batch"])
    strange = sorted(set(runner.inputs) - {i["name"] for i in manifest["model"]["inputs"]})
    strange += sorted({c.name for c in runner.cuts} - set(runner.outputs))
    if strange:
        raise fail("SFN503", f"{FILE} and the model do not share {strange[0]!r}", str(folder), "compile again")
    return Beginning(runner)


def facts(head: HostHead | None) -> dict[str, Any] | None:
    """Return what manifest and report say of a head, None where there is none."""
    if head is None:
        return None
    return {
        "nodes": list(head.nodes), "inputs": list(head.inputs), "batch": head.batch, **head.cost.as_dict(),
        "cut": [{"name": c.name, "shape": list(c.shape), "dtype": c.dtype} for c in head.cuts],
    }  # fmt: skip
