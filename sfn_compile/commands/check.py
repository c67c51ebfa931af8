"""Check: what would be mapped or refused, without converting anything."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compiler.tail_survey import survey_network
from ..foundation.codes import CODES, EXIT_OK
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.options import Options
from ..frontend import load_model
from ..host import model_outputs
from ..passes.pipeline import STRUCTURE, run_passes
from ..targets import backend
from ..targets.target_build import emit_target, place_target
from ..targets.target_options import own, resolved


@dataclass
class Checked:
    """What would become of a model: the problems found, the targets that fit, and a state per node.

    A state is "ok", "host" (it runs in the host tail), "behind" (it reads a refused node and was not looked at) or the
    code of its refusal.
    """

    nodes: list[tuple[str, str]]
    problems: list[Diagnostic] = field(default_factory=list)
    targets_ok: list[str] = field(default_factory=list)
    tail: dict[str, Any] | None = None

    @property
    def n_ok(self) -> int:
        """Number of nodes that can be mapped."""
        return sum(state == "ok" for _, state in self.nodes)

    @property
    def n_host(self) -> int:
        """Number of nodes that the host computes."""
        return sum(state == "host" for _, state in self.nodes)

    @property
    def exit_code(self) -> int:
        """Exit status: that of the first problem."""
        return next((CODES[d.code].exit_code for d in self.problems), EXIT_OK)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "coverage": {"nodes": len(self.nodes), "mapped": self.n_ok, "host": self.n_host},
            "host_tail": self.tail,
            "nodes": [{"node": label, "state": state} for label, state in self.nodes],
            "targets": self.targets_ok, "diagnostics": [d.as_dict() for d in self.problems],
        }  # fmt: skip


def check(
    model: Path,
    targets: Sequence[str] = (),
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    target_options: Mapping[str, Any] | None = None,
) -> Checked:
    """Return what would become of every node.

    Raises SFN101 to SFN105 for a file that cannot be looked at, SFN605 for options that the targets do not have.
    """
    values = resolved(targets, target_options or {})
    loaded, graph, problems, states = survey_network(load_model(model, input_shapes))
    found = Checked(states, problems, tail=model_outputs.facts(loaded.output_names, loaded.tail))
    if graph is None or problems:
        return found
    try:
        run_passes(graph, STRUCTURE)
    except CompileError as error:
        found.problems.extend(error.diagnostics)
        return found
    for name in targets:
        try:
            _dry_run(model, name, input_shapes, own(name, values))
            found.targets_ok.append(name)
        except CompileError as error:
            found.problems.extend(error.diagnostics)
    return found


def _dry_run(
    model: Path, name: str, input_shapes: dict[str, tuple[int, ...]] | None, values: Mapping[str, Any]
) -> None:
    """Emit the target into a folder that is thrown away, with thresholds from a few generated inputs."""
    from ..compiler.compilation import compile_model

    target = backend.load(name)
    options = Options(targets=(name,), samples=4)
    made = place_target(compile_model(model, options, None, input_shapes).program, target, values)
    with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
        emit_target(made, target, values, Path(folder))
