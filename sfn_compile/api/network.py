"""A compiled network in Python: call it, look into it, prove it, measure it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cli.plain_lines import kept_aside_line
from ..commands.bisect import Bisection, bisect
from ..commands.evaluate import evaluate
from ..commands.fit import Fitted, fit
from ..commands.running import Runner
from ..commands.verify import Proof, verify
from ..data import arrays
from ..data.given import Asked, DataLike, unseen
from ..evaluation.gates import Gates, problems
from ..files import build_folder, sealed
from ..files.replacing import prepare, replacing
from ..foundation.declaration import held_by, options_of, read_all
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.options import BISECT_LIMIT, Machine
from ..foundation.preparation import Given, Preparation, read_given
from ..foundation.samples import ModelInput, Samples
from ..foundation.task_options import TaskOptions
from ..hardware.names import PlanName
from ..host.model_outputs import open_ending
from ..program.network import Program
from ..report.likeness import read_report
from . import text
from .layers import Layer, Layers
from .stream import Stream

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]


class Network:
    """A build: the integer network and everything that is known of it.

    ``folder`` holds it. Without an ``out`` of :func:`sfn_compile.compile` that is a temporary folder, which goes with
    this object; :meth:`save` keeps it. Every method raises ``CompileError``, whose diagnostics say what to do.
    """

    def __init__(self, folder: Path, refusals: Mapping[str, CompileError] | None = None, temporary: bool = False):
        self.folder = Path(folder)
        self.refusals = dict(refusals or {})
        self._runner = Runner.open(self.folder)
        if temporary:
            weakref.finalize(self, shutil.rmtree, self.folder.parent, ignore_errors=True)
        self.is_temporary = temporary

    # -- what it is --------------------------------------------------------------------------------------------------
    @property
    def program(self) -> Program:
        """The integers: populations, maps, thresholds, codes."""
        return self._runner.program

    @property
    def manifest(self) -> Mapping[str, Any]:
        """``manifest.json``: versions, options, sha256 of every file."""
        return self._runner.manifest

    @cached_property
    def report(self) -> dict[str, Any]:
        """``report.json``: what every layer became, measured."""
        return read_report(self.folder)

    @property
    def name(self) -> str:
        """The name of the model's file."""
        return str(self.manifest["model"]["name"]).removesuffix(".onnx")

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        """The model's inputs: name, shape of one sample, type."""
        return build_folder.model_inputs(self.manifest)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the model's outputs."""
        return open_ending(self.folder, self.manifest, self.program).outputs

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that it was built for."""
        return tuple(sealed.held_targets(self.manifest))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What compile warned of."""
        return tuple(Diagnostic(w["code"], w["what"], w["where"], w["fix"]) for w in self.report["warnings"])

    @cached_property
    def layers(self) -> Layers:
        """The layers by name: of the population, or of the ONNX node that became it."""
        steps = {step.name: step for step in self.program.steps}
        scales = build_folder.load_scales(self.folder, self.manifest)
        known = [row for row in self.report["layers"] if row["name"] in scales]
        return Layers([Layer(row, steps.get(row["name"]), scales[row["name"]], self.codes) for row in known])

    # -- what it computes --------------------------------------------------------------------------------------------
    def __call__(self, *x: Any, on: str = "sim") -> Any:
        """Return the outputs ``(n, ...)`` for samples ``(n, *shape)``: tensors for tensors, else arrays.

        Several inputs are given in order or as a dict by name. Of several outputs a dict by name comes back. An output
        whose shape differs from sample to sample (boxes of a detector) is a tuple, an entry per sample. ``on``: the
        target that computes it.
        """
        samples, back = self._samples(x)
        runner = self._runner if on == "sim" else Runner.open(self.folder, on)
        found = {name: back(answer) for name, answer in runner.answers(samples).items()}
        return next(iter(found.values())) if len(found) == 1 else found

    def codes(self, *x: Any, on: str = "sim") -> dict[str, Array]:
        """Return every integer ``(n, *shape)`` by name: of the inputs and of every population."""
        samples, _ = self._samples(x)
        return (self._runner if on == "sim" else Runner.open(self.folder, on)).codes(samples)

    def stream(self) -> Stream:
        """Return a stream of the network over time: ``stream.step(frame)`` makes a step and returns the answer so far.

        Raises SFN605 for a network that answers in one timestep.
        """
        return Stream(self._runner)

    def _samples(self, x: tuple[Any, ...]) -> tuple[Samples, Callable[[Any], Any]]:
        """Return samples by input, and what makes of an answer what was given: a tensor of a tensor."""
        given = x[0] if len(x) == 1 else tuple(x)
        first = next(iter(given.values())) if isinstance(given, Mapping) else x[0]
        data = arrays.read(given, Asked(build_folder.sample_inputs(self.manifest)))
        return data.x, _tensors_like(first) if _is_tensor(first) else lambda answer: answer

    # -- what is known of it -----------------------------------------------------------------------------------------
    def verify(
        self, data: DataLike | None = None, *, samples: int | None = None, seed: int = 0,
        on: str | Sequence[str] | None = None, time_limit: float = 1800.0, progress: Progress = unseen, **how: Any,
    ) -> Proof:  # fmt: skip
        """Return the proof that every target computes the same integers; it is true where all are proved.

        ``data``: what to prove it on [the golden inputs of the build]; other options as of ``sfnc verify``.
        """
        targets = None if on is None else [on] if isinstance(on, str) else list(on)
        preparation, machine = _read(how, Preparation, Machine)
        given = None if data is None else Given(read_given(data), preparation)
        return verify(self.folder, given, samples, targets, seed, time_limit, machine, progress)

    def evaluate(
        self, data: DataLike, *, samples: int | None = None, seed: int = 0, on: str = "sim",
        time_limit: float = 1800.0, progress: Progress = unseen, **how: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Return accuracy and agreement of the float model and this network on ``data``, as ``eval.json`` has them.

        ``how``: the ``task``, its ``labels``, ``boxes``, ``draw``, ``examples``; gates (``max_drop=1``; one that fails
        raises SFN502); how images are prepared; and ``workers``,
        ``cluster``, ``threads``, ``engine``, as of ``sfnc eval``.
        """
        gates, tasks, preparation, machine = _read(how, Gates, TaskOptions, Preparation, Machine)
        given = Given(read_given(data), preparation)
        found = evaluate(self.folder, given, samples, seed, progress, on, time_limit, machine, gates, tasks)
        failed = problems(found.get("gates", ()), found["data"]["source"])
        if failed:
            raise CompileError(failed)
        return found

    def bisect(
        self, data: DataLike, *, samples: int | None = None, seed: int = 0, limit: float = BISECT_LIMIT,
        progress: Progress = unseen, **how: Any,
    ) -> Bisection:  # fmt: skip
        """Return the first layer that takes the outputs further from the float model than ``limit`` dB, and why."""
        (preparation,) = _read(how, Preparation)
        return bisect(self.folder, Given(read_given(data), preparation), samples, seed, limit, progress)

    def fit(
        self, hardware: str = "loihi2", *, split: PlanName = "vendor", state_words: float | None = None,
        host_work: bool = False,
    ) -> Fitted:  # fmt: skip
        """Return whether the network fits a chip, as ``sfnc fit`` does: ``document``, ``problems``, ``warnings``."""
        return fit(self.folder, hardware, split, state_words, host_work)

    # -- to keep and to read -----------------------------------------------------------------------------------------
    def save(self, out: str | Path, force: bool = False) -> Network:
        """Write the build into the folder ``out`` and return the network there, as ``compile(..., out)`` would have.

        ``force`` replaces an earlier build that holds files of yours, which are kept. Raises SFN503, SFN602.
        """
        place = Path(out)
        prepare(place, force)
        with replacing(place, force) as folder:
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Network(place, self.refusals)

    def summary(self) -> str:
        """Return the layers, sizes, quality and targets as text: ``print(net.summary())``."""
        warned = [f"warning {w}" for w in self.warnings]
        return "\n".join((repr(self), repr(self.layers), *self._lines(), *warned))

    def _lines(self) -> list[str]:
        """Return sizes, quality and targets."""
        report = self.report
        return [text.totals_line(report), kept_aside_line(report["kept_aside"]), *text.target_lines(report)]

    def __repr__(self) -> str:
        shapes = text.shapes((i.name, i.shape) for i in self.inputs)
        place = "a temporary folder (save(out) keeps it)" if self.is_temporary else f"{self.folder}"
        count = len(self.report["warnings"])
        warned = f", {count} warning{'s' * (count > 1)}" if count else ""
        return (f"<sfnc network {self.name!r}: {shapes} -> {', '.join(self.outputs)}, {len(self.layers)} layers, "
                f"targets {', '.join(self.targets)}{warned}, in {place}>")  # fmt: skip

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(line)}</li>" for line in (*self._lines(), *map(str, self.warnings)))
        return f"<p>{escape(repr(self))}</p>{self.layers._repr_html_()}<ul>{said}</ul>"


def _read(how: Mapping[str, Any], *declaring: Any) -> list[Any]:
    """Return an instance of every dataclass with its options among those that were given.

    Raises SFN605 for one that none of them has, or a value that is not accepted.
    """
    read = read_all([o for holder in declaring for o in options_of(holder)], how)
    return [holder(**held_by(holder, read)).check() for holder in declaring]


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch"


def _tensors_like(given: Any) -> Callable[[Any], Any]:
    """Return what makes tensors on the device of a given one."""
    import torch

    def back(answer: Any) -> Any:
        if isinstance(answer, tuple):
            return tuple(map(back, answer))
        return torch.from_numpy(np.ascontiguousarray(answer)).to(given.device)

    return back


def temporary_folder() -> Path:
    """Return a new folder for a build that nobody asked to keep."""
    return Path(tempfile.mkdtemp(prefix="sfnc-"))
