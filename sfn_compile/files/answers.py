"""Files that a command writes where the user says, and what they must not be written over."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from .atomic_files import disk, write_bytes
from .program_files import npz_bytes
from .replacing import LIVING, sealed_files

Array = NDArray[Any]
MARK = b"written by sfnc run"  # the comment of the archive: answers may be overwritten by answers
OTHER = "name another file: -o answers.npz"


def save_outputs(path: Path, arrays: Mapping[str, Array], read: Sequence[Path] = ()) -> None:
    """Write arrays under their ONNX names as ``.npz``, in one step.

    ``read``: the build folder and the files that they were computed from. Raises as :func:`require_writable`.
    """
    require_writable(path, read)
    with disk(path, OTHER):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, npz_bytes(dict(arrays), MARK))


def save_text(path: Path, text: str, read: Sequence[Path] = ()) -> None:
    """Write a text in one step, over a file that is there: a report of a job, a table, a picture.

    Raises SFN602, and SFN605 for a file in ``read``, of a folder in ``read`` or of a build.
    """
    require_free(path, read)
    with disk(path, "name another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())


def require_free(path: Path, read: Sequence[Path] = ()) -> None:
    """Check that :func:`save_text` may write to ``path``, before the work begins. Raises SFN602, SFN605."""
    with disk(path, "name another file"):
        if path.is_dir():
            raise fail("SFN602", "cannot write: it is a folder", str(path), "name a file")
        if path.exists() and any(path.samefile(file) for file in _files(read)):
            raise _refusal(path, "this command reads it")
        _refuse_in_build(path)


def require_writable(path: Path, read: Sequence[Path] = ()) -> None:
    """Check that outputs may be written to ``path``.

    Raises SFN602 where it is no file, and SFN605 where something would be lost: a file or a file of a folder in
    ``read``, a file of a build, or any other file that ``sfnc run`` has not written.
    """
    with disk(path, OTHER):
        if path.is_dir():
            raise fail("SFN602", "cannot write: it is a folder", str(path), OTHER)
        found = path.exists()
        if found and not path.is_file():
            raise fail("SFN602", "cannot write: it is no regular file", str(path), OTHER)
        if found and any(path.samefile(file) for file in _files(read)):
            raise _refusal(path, "this command reads it")
        _refuse_in_build(path)
        if found and path.stat().st_size and not _is_answers(path):
            raise _refusal(path, "it exists, and `sfnc run` has not written it")


def _refusal(path: Path, why: str) -> CompileError:
    return fail("SFN605", f"{path} would be overwritten: {why}", fix="name another file")


def _files(read: Iterable[Path]) -> Iterable[Path]:
    """Yield files, and of a build folder those that its manifest names."""
    for place in read:
        names = (sealed_files(place) or {}) if place.is_dir() else {"": ""}
        yield from (p for p in (place / name for name in names) if p.exists())


def _refuse_in_build(path: Path) -> None:
    """Raise SFN605 where ``path`` is a file of a build, there or not, or would lie in the folder of a target."""
    path = Path(os.path.realpath(path))
    for folder in path.parents:
        sealed = sealed_files(folder)
        if sealed is None:
            continue
        name = path.relative_to(folder)
        folders = {file.partition("/")[0] for file in sealed if "/" in file}
        if name.as_posix() in sealed.keys() | LIVING or name.parts[0] in folders:
            raise _refusal(path, f"it belongs to the build {folder}")


def _is_answers(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == MARK
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
