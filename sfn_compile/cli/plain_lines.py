"""Lines for the terminal that need no rich, which takes longer to load than a check takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report.units import decibel

if TYPE_CHECKING:
    from ..commands.check import Checked


def check_lines(found: Checked) -> Iterator[str]:
    """Yield every node's state, the counts, the host's parts, and which targets fit."""
    yield _verdict(found)
    yield from (f"{state:8} {label}" for label, state in found.nodes)
    count = found.coverage
    constant = count["nodes"] - len(found.nodes)
    also = f" ({constant} of them are constants)" if constant > 0 else ""
    yield f"{count['mapped']} of {count['nodes']} nodes can be mapped{also}"
    yield from host_lines(found.head, found.tail)
    yield from (f"target {name}: fits" for name in found.targets_ok)
    if not found.problems:
        yield f"known at compile time only: {found.open}"


def unchanged_lines(out: Path, report: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a build is there already, how good it is, and how to compile all the same."""
    yield f"unchanged: {out} is this build; model, data, options and versions are the same, all sealed files checked"
    yield kept_aside_line(report["kept_aside"])
    yield f"--rebuild compiles it again   next: sfnc verify {out}"


def kept_aside_line(found: Mapping[str, Any]) -> str:
    """Return how good a build is on the samples kept aside, or why none were."""
    if not found["samples"]:
        return f"no samples were kept aside: {found['reason']}"
    parts = [f"agreement {100 * found['agreement']:.1f} %"] if found["agreement"] is not None else []
    snr = "exact" if found["exact"] else decibel(found["sqnr_db"], "", " dB")
    parts += [snr] if snr != "-" else []
    return f"kept-aside {', '.join(parts) or 'nothing to compare'} ({found['samples']} samples, not calibrated on)"


def _verdict(found: Checked) -> str:
    """Return the result of a check in one line."""
    if not found.problems:
        fits = f"; fits {', '.join(found.targets_ok)}" if found.targets_ok else ""
        return f"can be compiled{fits}"
    refused = sum(state.startswith("SFN") for _, state in found.nodes)
    return f"cannot be compiled: {len(found.problems)} problems" + (f", {refused} nodes refused" if refused else "")


def host_lines(head: Mapping[str, Any] | None, tail: Mapping[str, Any] | None) -> list[str]:
    """Return what the host computes around the network, a line for each part."""
    return [line(part) for line, part in ((head_line, head), (tail_line, tail)) if part is not None]


def head_line(head: Mapping[str, Any]) -> str:
    """Return the line that says what the host computes before the network, and what that costs a sample."""
    cut, nodes = ", ".join(repr(c["name"]) for c in head["cut"]), head["nodes"]
    counts = [f"{head[key]:,} {what}" for key, what in (("macs", "multiply-accumulates"), ("numbers", "numbers"))
              if head[key] is not None]  # fmt: skip
    cost = f" ({', '.join(counts)} per sample)" if counts else ""
    return f"{len(nodes)} nodes run on the host before the network, up to {cut}{cost}: {first_of(nodes)}"


def tail_line(tail: Mapping[str, Any]) -> str:
    """Return the line that says what the host computes behind the network."""
    cut, nodes = ", ".join(repr(name) for name in tail["cut"]), tail["nodes"]
    return f"{len(nodes)} nodes run on the host (onnxruntime), cut at {cut}: {first_of(nodes)}"


def first_of(names: Sequence[str]) -> str:
    """Return the first four names, and how many more the report has."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more (report.json)" if len(names) > 4 else "")
