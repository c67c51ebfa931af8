"""Compile: from an ONNX file and calibration data to a build folder."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.compilation import Compilation, compile_model, silent, timed
from ..compiler.draft import Progress
from ..evaluation.gates import Gates, problems, require_labels
from ..evaluation.side_by_side import reference_of
from ..files import build_folder, program_files
from ..files.replacing import prepare, replacing
from ..foundation.diagnostics import CompileError, fail
from ..foundation.options import Options
from ..foundation.preparation import Given, given
from ..foundation.samples import ModelInput, n_samples, part
from ..foundation.version import __version__
from ..frontend.foreign import as_onnx
from ..frontend.load import external_files
from ..frontend.reference import OPTIMIZATION
from ..host import model_inputs, model_outputs
from ..host.codec import encode_all
from ..program.network import Program
from ..report import likeness, measure, over_time
from ..report.activity import real_steps
from ..report.page import document as page
from ..report.structure import structure
from ..search.journal import require_state
from ..search.plan import Search
from ..simulator.run import run_codes
from ..targets import backend, target_options
from ..targets.target_build import TargetBuild, build_target
from ..targets.target_records import write_records
from .evaluate import compare
from .fit import Wanted, require_fit
from .kept_integers import require_kept_integers
from .quality import quality_of
from .unchanged import record

Array = NDArray[Any]

MEASURED_SAMPLES = 64
SAMPLES_OVER_TIME = 16
GOLDEN_SAMPLES = 8
GOLDEN_LIMIT = 20_000_000  # integers; fewer samples are kept of a network that would pass it


@dataclass
class Built:
    """The result of :func:`build`: the report and the refusals of single targets."""

    folder: Path
    report: dict[str, Any]
    refusals: dict[str, CompileError]


def build(
    model: Path,
    out: Path,
    options: Options,
    calib: Path | Given | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
    search: Search | None = None,
    force: bool = False,
    chip: Wanted | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Built:
    """Compile ``model`` into the folder ``out`` for every target of the options, which a ``search`` may refine.

    A target that refuses is reported in ``refusals`` while the others are built; where all refuse, or the accuracy
    falls by more than allowed, CompileError is raised and ``out`` stays as it was. ``force`` replaces an earlier build
    that holds files which sfnc has not written, and keeps these; without it that is refused (SFN503). ``chip``: what
    can never fit it is refused (SFN410 to SFN412). ``asked``: of :func:`~.unchanged.asked_for`, kept beside the build.
    """
    in_use = [model, *([] if calib is None else given(calib).paths)]
    prepare(out, force, in_use)
    with as_onnx(model, options.levels) as file:
        return _build(file, out, options, calib, input_shapes, progress, search, force, chip, asked, in_use)


def _build(
    model: Path, out: Path, options: Options, calib: Path | Given | None,
    input_shapes: dict[str, tuple[int, ...]] | None, progress: Progress, search: Search | None, force: bool,
    chip: Wanted | None, asked: Mapping[str, Any] | None, in_use: list[Path],
) -> Built:  # fmt: skip
    """Compile an ONNX model; ``in_use``: files that no build replaces."""
    state = _state(out, search)
    if state is not None:
        require_state(state, out)
    backends = {name: backend.load(name) for name in dict.fromkeys(options.targets)}
    options = replace(options, target_options=target_options.resolved(backends, options.target_options))
    done, found = _compiled(model, options, search, state, calib, input_shapes, progress)
    require_kept_integers(done, progress)
    found |= _required_accuracy(done, progress)
    with replacing(out, force, in_use) as folder:
        with timed(done.seconds, "report"):
            report = {**_write_common(done, folder, progress), **quality_of(done, progress), **found}
        fit = None if chip is None else require_fit(done.program, report, chip, folder)
        report["targets"], refusals = _write_targets(done, backends, folder, progress)
        _write_documents(done, report, folder, fit)
        record(folder, asked)
    if search is not None and state is not None and search.state is None:
        state.unlink(missing_ok=True)  # its trials are in the report now
    return Built(out, report, refusals)


def _write_targets(
    done: Compilation, backends: Mapping[str, backend.Backend], folder: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, CompileError]]:
    """Write every target that does not refuse, and their records; return their rows of the report, and the refusals.

    Raises CompileError with all problems where every target refuses.
    """
    rows: dict[str, Any] = {}
    refusals: dict[str, CompileError] = {}
    builds: list[TargetBuild] = []
    for name, target in backends.items():
        progress(f"write {name}", 0, 1)
        with timed(done.seconds, f"emit {name}"):
            try:
                builds.append(_emit(target, done.program, folder / name, done.options))
                rows[name] = _measured(builds[-1], folder / name)
            except CompileError as error:
                refusals[name] = error
                shutil.rmtree(folder / name, ignore_errors=True)
                rows[name] = {"refused": [d.as_dict() for d in error.diagnostics]}
    if len(refusals) == len(backends):
        raise CompileError([d for e in refusals.values() for d in e.diagnostics])
    write_records(done.program, builds, folder)
    return rows, refusals


def _emit(target: backend.Backend, program: Program, place: Path, options: Options) -> TargetBuild:
    place.mkdir()
    return build_target(program, target, target_options.own(target.name, options.target_options), place)


def _measured(made: TargetBuild, place: Path) -> dict[str, Any]:
    """Return the row of a target in the report."""
    files = [p for p in place.rglob("*") if p.is_file()]
    return {
        "files": len(files),
        "bytes": sum(p.stat().st_size for p in files),
        "populations": len(list(made.program.populations())),
    }


def _write_documents(
    done: Compilation, report: dict[str, Any], folder: Path, fit: Mapping[str, Any] | None = None
) -> None:
    """Write what describes a build whose other files are there: the report, the page, the manifest, the seconds."""
    build_folder.write_json(folder / "report.json", report)
    with timed(done.seconds, "report"):
        build_folder.write_text(folder / page.FILE, page.render(_facts(done), report, {"fit": fit}))
    build_folder.write_manifest(folder, _facts(done))
    build_folder.write_json(folder / "timing.json", {k: round(v, 3) for k, v in done.seconds.items()})


def _compiled(
    model: Path, options: Options, search: Search | None, state: Path | None, calib: Path | Given | None,
    input_shapes: dict[str, tuple[int, ...]] | None, progress: Progress,
) -> tuple[Compilation, dict[str, Any]]:  # fmt: skip
    """Return the compilation, and what the report says of the search that chose its options."""
    if search is None or state is None:
        return compile_model(model, options, calib, input_shapes, progress), {}
    from ..search.run import search_model

    done, found = search_model(model, options, search, state, calib, input_shapes, progress)
    return done, {"search": found}


def _state(out: Path, search: Search | None) -> Path | None:
    """Return the file that measured trials are kept in: beside the build, which is replaced as a whole."""
    if search is None:
        return None
    place = Path(os.path.abspath(out))  # "." has no name
    return search.state or place.with_name(f"{place.name}.search.jsonl")


def _required_accuracy(done: Compilation, progress: Progress) -> dict[str, Any]:
    """Return ``{"accuracy": ...}`` on all samples that were given, where a largest drop is asked for.

    Those kept aside are a tenth of them: alone they are too few to tell a point. Raises SFN307, SFN502.
    """
    gates, data, loaded = Gates(max_drop=done.options.max_drop), done.given, done.loaded
    if not gates.asked:
        return {}
    require_labels(gates, data.labels, data.source)
    end = model_outputs.ending_of(loaded.output_names, loaded.tail)
    reference = reference_of(loaded.path, loaded.input_names, loaded.batch, [d.name for d in done.program.outputs], end)
    with timed(done.seconds, "accuracy"):
        judged = compare(done.program, reference, data.shown, data.labels, progress, end, data.label_place)
    failed = problems(gates.judge(judged), data.source, "more --levels, another --method, or --search")
    if failed:
        raise CompileError(failed)
    return {"accuracy": judged["accuracy"]}


def _write_common(done: Compilation, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write program, golden integers and the model's copy; return the report so far."""
    progress("measure", 0, 1)
    program_files.save(done.program, folder)
    _copy_model(done, folder)
    _write_host(done, folder)
    x = done.calibration.x
    values = done.program.values()
    size = sum(int(np.prod(v.shape)) for v in values.values())
    steps = 1 if done.program.clock is None else done.program.clock.steps
    golden = part(done.calibration.shown, slice(max(1, min(GOLDEN_SAMPLES, GOLDEN_LIMIT // max(size * steps, 1)))))
    codes = encode_all(done.program, golden)
    build_folder.save_golden(folder, golden, _golden(done.program, codes))
    build_folder.save_scales(folder, {name: s for name, s in real_steps(done.graph).items() if name in values})
    measured = measure.layers(done.graph, done.program.at_once(), done.runner, part(x, slice(MEASURED_SAMPLES)))
    time = {}
    if done.program.clock is not None:
        shown = part(done.calibration.shown, slice(SAMPLES_OVER_TIME))
        time = {"time": over_time.measured(done.program, measured.layers, measured.energy, shown)}
    return {
        "coverage": done.loaded.coverage(),
        **_host_facts(done),
        "import": {"ties": done.ties},
        "encoder": [op.kind for e in done.program.inputs for op in e.host],
        "decoder": [op.kind for d in done.program.outputs for op in d.host],
        "layers": measured.layers,
        "graph": structure(done.program),
        "corrections": done.corrections,
        "totals": measure.totals(measured.layers),
        "attention": measured.attention,
        "energy": measured.energy,
        **time,
        "calibration": {"samples": n_samples(x), "inputs": _inputs_then(done)},
        "measured_on": {"samples": min(n_samples(x), MEASURED_SAMPLES), "data": done.calibration.source},
        "options": done.options.as_dict(),
        "targets": {},
    }


def _inputs_then(done: Compilation) -> dict[str, Any]:
    """Return what data is compared with later; nothing where the network states all levels and none was chosen."""
    return likeness.input_facts(done.program.at_once(), done.calibration.x) if done.is_calibrated else {}


def _write_host(done: Compilation, folder: Path) -> None:
    """Write what the host computes before and behind the network."""
    for file, model in ((model_inputs.FILE, done.loaded.head), (model_outputs.FILE, done.loaded.tail)):
        if model is not None:
            (folder / file).write_bytes(model.model)


def _host_facts(done: Compilation) -> dict[str, Any]:
    """Return what report and manifest say of it."""
    loaded = done.loaded
    return {"host_head": model_inputs.facts(loaded.head),
            "host_tail": model_outputs.facts(loaded.output_names, loaded.tail)}  # fmt: skip


def _copy_model(done: Compilation, folder: Path) -> None:
    """Copy the model and its external data files."""
    build_folder.copy_file(done.loaded.path, folder / "model.onnx")
    for name in external_files(done.loaded.model):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        build_folder.copy_file(done.loaded.path.parent / name, folder / name)


def _golden(program: Program, codes: dict[str, Array]) -> dict[str, Array]:
    """Return every integer for the golden inputs; those of the first sample by both engines, which must agree.

    ``sfnc verify`` computes all of them by the plain engine, which would take longer than the compilation here.
    """
    values = run_codes(program, codes)
    plain = run_codes(program, part(codes, slice(1)), engine="reference")
    different = [name for name, want in plain.items() if not np.array_equal(values[name][:1], want)]
    if different:
        raise fail("SFN901", f"the fast and the plain engine differ at {different[0]!r}")
    return values


def _facts(done: Compilation) -> dict[str, Any]:
    import onnx
    import onnxruntime

    return {
        "format": done.program.format,
        "model": {"name": done.loaded.path.name, "sha256": done.loaded.sha256, **_input_facts(done.loaded.inputs),
                  "batch": done.loaded.batch},
        **_host_facts(done),
        "calibration": {"source": done.calibration.source, "sha256": done.calibration.sha256,
                        "samples": len(done.calibration), "prepared": done.calibration.prepared},
        "versions": {"sfnc": __version__, "numpy": np.__version__, "onnx": onnx.__version__,
                     "onnxruntime": onnxruntime.__version__,
                     "graph_optimization": OPTIMIZATION, "python": platform.python_version()},
        "options": done.options.as_dict(),
    }  # fmt: skip


def _input_facts(inputs: tuple[ModelInput, ...]) -> dict[str, Any]:
    """Return the list of inputs, and what a reader of a model with one input finds under ``input``."""
    rows = [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in inputs]
    only = rows[0] if len(rows) == 1 else {"name": None, "shape": None, "dtype": None}
    return {"inputs": rows, "input": only["name"], "shape": only["shape"], "dtype": only["dtype"]}
