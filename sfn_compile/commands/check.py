"""Check: what compile would map or refuse, and what the host would compute; nothing is converted.

It runs the stages of compile: import and structure; where targets or samples are given, also the comparison with
onnxruntime.
Thresholds of a few samples are enough to see what a target cannot express; widths may come out otherwise with all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..compiler.compilation import calibrated, check_options, mapped, read_data, silent
from ..compiler.draft import Progress
from ..compiler.tail_survey import survey_network
from ..foundation.codes import CODES, EXIT_OK
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.options import Options
from ..foundation.preparation import Given
from ..frontend import LoadedModel, load_model
from ..frontend.foreign import as_onnx
from ..graph.graph import Graph
from ..host import model_inputs, model_outputs
from ..passes.pipeline import run_passes, structure
from ..program.network import Program
from ..simulator.run import single_threaded_blas
from ..targets import backend
from ..targets.target_build import emit_target, place_target
from ..targets.target_options import own, resolved

DEFAULTS = Options()
SAMPLES = 4  # that thresholds are chosen on, and the imported network is compared on
UNSEEN = (
    "what running the model shows (SFN106, SFN107, SFN203; --target or --calib run it), and thresholds, with them the "
    "widths of accumulators (SFN401)"
)
FEW = "widths of accumulators (SFN401) were looked at with thresholds of {n} samples; compile sees all"


@dataclass
class Checked:
    """What would become of a model: the problems found, the targets that fit, and a state per node.

    A state is "ok", "host" (head or tail compute it), "behind" (it reads a refused node and was not looked at) or the
    code of its refusal, a target's included. ``open``: what only compile can tell.
    """

    nodes: list[tuple[str, str]]
    problems: list[Diagnostic] = field(default_factory=list)
    targets_ok: list[str] = field(default_factory=list)
    head: dict[str, Any] | None = None
    tail: dict[str, Any] | None = None
    coverage: dict[str, int] = field(default_factory=dict)
    open: str = UNSEEN

    @property
    def exit_code(self) -> int:
        """Exit status: that of the first problem."""
        return next((CODES[d.code].exit_code for d in self.problems), EXIT_OK)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "coverage": self.coverage, "host_head": self.head, "host_tail": self.tail,
            "nodes": [{"node": label, "state": state} for label, state in self.nodes],
            "targets": self.targets_ok, "diagnostics": [d.as_dict() for d in self.problems],
            "known_at_compile_time": self.open,
        }  # fmt: skip


def check(
    model: Path,
    options: Options = DEFAULTS,
    targets: Sequence[str] = (),
    calib: Path | Given | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
) -> Checked:
    """Return what would become of every node with these options, which compile takes too; of ``targets`` those of the
    options do not count.

    ``calib``: samples to look at instead of generated ones. Raises SFN101 to SFN105 for a file that cannot be looked
    at, SFN30x for samples that cannot, SFN605 for options that are not accepted, SFN111 for what an importer refuses.
    """
    with as_onnx(model, options.levels) as file:
        return _check(file, options, targets, calib, input_shapes, progress)


def _check(
    model: Path, options: Options, targets: Sequence[str], calib: Path | Given | None,
    input_shapes: dict[str, tuple[int, ...]] | None, progress: Progress,
) -> Checked:  # fmt: skip
    values = resolved(targets, options.target_options)
    backends = {name: backend.load(name) for name in targets}
    check_options(options)
    progress("import", 0, 1)
    loaded, graph, problems, states = survey_network(load_model(model, input_shapes), options.start, options.end)
    found = Checked(states, problems, head=model_inputs.facts(loaded.head),
                    tail=model_outputs.facts(loaded.output_names, loaded.tail))  # fmt: skip
    if graph is not None and not problems:
        progress("structure", 0, 1)
        with _collected(found), single_threaded_blas():
            program = _looked_at(loaded, graph, options, calib, found, bool(targets), progress)
            for name, target in backends.items() if program is not None else ():
                assert program is not None
                progress(f"{name}: legalise, place and write {len(program.steps)} layers", 0, 1)
                with _collected(found):
                    _dry_run(program, target, own(name, values))
                    found.targets_ok.append(name)
    found.nodes = _with_refusals(found.nodes, found.problems)
    found.coverage = loaded.coverage(sum(state not in ("ok", "host") for _, state in found.nodes))
    return found


@contextmanager
def _collected(found: Checked) -> Iterator[None]:
    """Add what is refused inside to the problems."""
    try:
        yield
    except CompileError as error:
        found.problems.extend(error.diagnostics)


def _looked_at(
    loaded: LoadedModel, graph: Graph, options: Options, calib: Path | Given | None, found: Checked, is_mapped: bool,
    progress: Progress,
) -> Program | None:  # fmt: skip
    """Return the Program of a few samples, None unless ``is_mapped``. Raises what compile raises on the way to it.

    Nothing is learnt for it, but sites get the levels and digits that they get where weights are learnt.
    """
    few = replace(options, samples=min(options.samples or SAMPLES, SAMPLES), reconstruct=False,
                  fine_share=options.share_of_fine, digit_share=options.share_of_digits)  # fmt: skip
    if not is_mapped and calib is None:  # nothing runs the model, so that the answer is there at once
        run_passes(graph, structure(few))
        return None
    read = read_data(loaded, graph, few, calib, {})
    if not is_mapped:
        return None
    found.open = FEW.format(n=len(read.calibration))
    prepared = calibrated(read, progress)
    progress(f"map {len(prepared.graph.nodes)} layers", 0, 1)
    return mapped(prepared, few, progress=progress).program


def _dry_run(program: Program, target: backend.Backend, values: dict[str, Any]) -> None:
    """Legalise and emit the target into a folder that is thrown away. Raises SFN401 to SFN403."""
    made = place_target(program, target, values)
    with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
        emit_target(made, target, values, Path(folder))


def _with_refusals(states: list[tuple[str, str]], problems: Sequence[Diagnostic]) -> list[tuple[str, str]]:
    """Return the states with the code of a refusal for every node that one names, wherever it was found."""
    codes = {place: d.code for d in reversed(problems) for place in (d.where, *d.where.split(", "))}
    return [(label, codes.get(label, state) if state == "ok" else state) for label, state in states]
