"""Who reads whom, as data for a picture: layers and pools, without the moves between them."""

from __future__ import annotations

from typing import Any

from ..program.network import MaxPool, Move, Program


def structure(program: Program) -> dict[str, Any]:
    """Return ``{"nodes": [{name, kind, sources}], "outputs": {name: sources}}``; a move is seen through."""
    behind: dict[str, list[str]] = {e.value: [e.value] for e in program.inputs}
    nodes: list[dict[str, Any]] = [{"name": e.value, "kind": "input", "sources": []} for e in program.inputs]
    for step in program.steps:
        sources = list(dict.fromkeys(s for source in step.sources for s in behind[source]))
        if isinstance(step, Move):
            behind[step.name] = sources
            continue
        behind[step.name] = [step.name]
        nodes.append({"name": step.name, "kind": "pool" if isinstance(step, MaxPool) else "layer", "sources": sources})
    outputs = {d.name: list(dict.fromkeys(s for v in d.values for s in behind[v])) for d in program.outputs}
    return {"nodes": nodes, "outputs": outputs}
