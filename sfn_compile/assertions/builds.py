"""The assertions: proof, gates, difference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..commands.diff import diff
from ..commands.evaluate import evaluate
from ..commands.verify import verify
from ..evaluation.gates import Gates, problems
from ..foundation.declaration import held_by, options_of, read_all
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.option_values import read_names


def assert_exact(
    build: Any, *, on: str | Sequence[str] | None = None, data: Any = None, samples: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Assert that every emitted target computes the simulator's integers, as ``sfnc verify`` does; return the proof.

    ``build``: the folder of a build, or what ``compile`` returned. ``on``: targets [all of the build]. ``data``:
    inputs to prove it on, as ``calib`` of ``compile`` [the golden ones]. A target that cannot be executed here
    fails: nothing was proved of it.
    """
    names = None if on is None else read_names(on)
    proof = verify(_folder(build), data, samples, names, seed)
    _require(proof.problems)
    return proof.document


def assert_accuracy(
    build: Any, data: Any, *, on: str = "sim", samples: int | None = None, seed: int = 0, **gates: float
) -> dict[str, Any]:
    """Assert limits on the samples of ``data``, as ``sfnc eval`` does; return what was measured.

    ``gates``: ``max_drop`` (points), ``min_accuracy``, ``min_agreement``, ``min_map``, ``min_iou`` (shares up to 1, or
    percent above), ``min_sqnr`` (dB), ``max_rmse``. Raises SFN605 where none is given: nothing would be asserted.
    """
    asked = Gates(**held_by(Gates, read_all(options_of(Gates), gates)))
    if not asked.asked:
        raise fail("SFN605", "assert_accuracy without a gate asserts nothing", fix="max_drop=1.0, min_agreement=0.98")
    found = evaluate(_folder(build), data, samples, seed, on=on, gates=asked)
    _require(problems(found["gates"], found["data"]["source"]))
    return found


def assert_same_network(build: Any, other: Any) -> dict[str, Any]:
    """Assert that two builds are the same network, as ``sfnc diff --fail-on-change`` does; return the comparison."""
    found = diff(_folder(build), _folder(other))
    _require(found.problems)
    return found.document


def _folder(build: Any) -> Path:
    """Return the folder of a build: a path, or the ``folder`` of what ``compile`` returned."""
    return Path(build) if isinstance(build, str | os.PathLike) else Path(build.folder)


def _require(problems: Sequence[Diagnostic]) -> None:
    if problems:
        raise AssertionError("\n".join(str(d) for d in problems))
