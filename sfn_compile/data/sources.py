"""The kinds of data that are read, in the order in which they are asked whether something is theirs.

A new kind is its own module and a line of :data:`SOURCES`. What it prepares it says in ``Data.prepared``; that is
in the manifest, and comes back as ``Asked.recorded`` when a later command reads data for the same build.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import build_folder
from ..files.sample_files import Data, load_data
from ..foundation.diagnostics import fail
from ..foundation.preparation import given
from ..foundation.samples import ModelInput
from . import arrays, batches, events, images, tables
from .functions import called, find, is_name
from .given import Asked, Progress, Source, unseen


def _of_function(what: Path, asked: Asked) -> Data:
    """Return the samples of a function of the user: the arrays that it returns, or the batches that it yields."""
    name = str(what)
    found = find(name)
    return _of_result(called(found, name) if callable(found) else found, name, asked)


def _of_callable(what: Any, asked: Asked) -> Data:
    name = getattr(what, "__name__", type(what).__name__)
    return _of_result(called(what, name), name, asked)


def _of_result(result: Any, name: str, asked: Asked) -> Data:
    if arrays.takes(result):
        return arrays.read(result, asked)
    if not batches.takes(result):
        raise fail("SFN320", f"it gives {type(result).__name__}, no batches", name, "return arrays, or yield batches")
    return batches.read(result, asked, name)


def _of_file(what: Path, asked: Asked) -> Data:
    return load_data(what, asked.inputs, asked.samples, asked.seed, asked.needs_labels)


SOURCES = (
    Source("function", is_name, _of_function),
    Source("events", events.takes, events.read, prepares="events"),
    Source("images", images.takes, images.read, prepares="images"),
    Source("table", tables.takes, tables.read),
    Source("file", lambda what: isinstance(what, Path), _of_file),  # says what kind of file another one is
    Source("arrays", arrays.takes, arrays.read),
    Source("batches", batches.takes, batches.read),
    Source("callable", callable, _of_callable),
)


def open_data(what: Any, asked: Asked) -> Data:
    """Return the samples of whatever was given.

    Raises SFN301 to SFN307, SFN315 to SFN320, SFN605 for an option that the data do not take, SFN613.
    """
    source = next((s for s in SOURCES if s.takes(what)), None)
    if source is None:
        raise fail("SFN301", f"a {type(what).__name__} is no data", fix="give a file, a folder, arrays or batches")
    if wrong := asked.preparation.said(but=source.prepares):
        kind = source.prepares or "arrays, which are taken as they are"
        raise fail("SFN605", f"{wrong}: the data are {kind}", fix=f"leave {wrong} out")
    return source.read(what, asked)


def data_of_build(
    what: Any, manifest: Mapping[str, Any], samples: int | None = None, seed: int = 0, needs_labels: bool = False,
    progress: Progress = unseen,
) -> Data:  # fmt: skip
    """Return the samples of whatever was given for a build, prepared as its calibration data were."""
    data = given(what)
    inputs: tuple[ModelInput, ...] = build_folder.sample_inputs(manifest)
    recorded = manifest.get("calibration", {}).get("prepared")
    asked = Asked(inputs, samples, seed, needs_labels, data.preparation, recorded, True, None, progress)
    return open_data(data.what, asked)
