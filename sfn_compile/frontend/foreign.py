"""Networks in other formats than ONNX: an installed importer rewrites the file as an ONNX model.

An importer is found through the entry-point group ``sfnc.importers`` under the ending of its files, without the dot. It
is a function of the file and of how many levels a neuron that counts spikes has, and returns the bytes of an ONNX model
whose nodes bear the names of the file's. It raises CompileError with every node that it cannot say (SFN111).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias

from ..foundation.diagnostics import fail

GROUP = "sfnc.importers"
Importer: TypeAlias = Callable[[Path, int], bytes]


@contextmanager
def as_onnx(model: Path, levels: int) -> Iterator[Path]:
    """Yield an ONNX file for the time of the context: ``model`` itself, or what an importer makes of it.

    Raises SFN111 and what else the importer raises, SFN604 where it cannot be loaded.
    """
    importer = importer_of(model)
    if importer is None or not model.is_file():
        yield model
        return
    content = importer(model, levels)
    with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
        file = Path(folder) / f"{model.stem}.onnx"
        file.write_bytes(content)
        yield file


def importer_of(model: Path) -> Importer | None:
    """Return the importer for files with the ending of ``model``, None where there is none. Raises SFN604."""
    ending = model.suffix.lower().removeprefix(".")
    found = [e for e in entry_points(group=GROUP) if e.name == ending] if ending not in ("", "onnx") else []
    owners = {e.value for e in found}
    if len(owners) > 1:
        raise fail("SFN604", f"files ending in .{ending} are claimed by several packages: {', '.join(sorted(owners))}")
    return _loaded(found[0]) if found else None


def _loaded(entry: EntryPoint) -> Importer:
    try:
        found: Importer = entry.load()
    except Exception as error:  # a package of somebody else: whatever it raises, other files can be read
        raise fail("SFN604", f"the importer of .{entry.name} files cannot be loaded: {error!r}", entry.value) from error
    return found
