"""A new build in the place of an earlier one, without losing anything that sfnc has not written itself."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..foundation.diagnostics import CompileError, fail
from . import scratch_folders as scratch
from . import sealed as seal
from .atomic_files import disk, is_scratch_name
from .sample_files import file_sha256
from .scratch_folders import NEW, real

LIVING = seal.LIVING | {seal.MANIFEST}  # written after the build or beside it: no sha256 says what they are
KEPT = "kept"  # files of the user whose place is taken in the new build
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN = 10
_ATTEMPTS = 10  # other builds of the same OUT may come between
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def sealed_files(folder: Path) -> dict[str, str] | None:
    """Return the sha256 of every file of a build by relative path, None where the folder is no sfnc build."""
    try:
        manifest = json.loads((folder / seal.MANIFEST).read_text(encoding="utf-8"))
        files, said = manifest["files"], (manifest["versions"]["sfnc"], manifest["model"]["sha256"])
        ours = isinstance(manifest["format"], int) and all(isinstance(s, str) for s in said)
        ours = ours and {"program.json", "program.npz"} <= files.keys()
        return dict(files) if ours and all(_SHA256.fullmatch(d) for d in files.values()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def prepare(out: Path, force: bool = False, in_use: Sequence[Path] = ()) -> None:
    """Bring back or remove what killed builds left beside ``out``, and check that a build may take its place.

    ``in_use``: files that the build is made from. Raises SFN503 where ``out`` holds something that is no build, or,
    without ``force``, files in a build that sfnc has not written; SFN602 where it cannot be read.
    """
    out = real(out)
    scratch.restore(out)
    with disk(out):
        _clean(out)
        _strangers_allowed(out, force, in_use)


@contextlib.contextmanager
def replacing(out: Path, force: bool = False, in_use: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield a scratch folder that becomes ``out`` when the block ends well; otherwise ``out`` stays as it was.

    What :func:`prepare` checked before the work began is checked again before the two change places. With ``force``,
    files of an earlier build that sfnc has not written move into the new one. Raises SFN503, SFN602.
    """
    out = real(out)
    with scratch.scratch_folder(out) as place, disk(out):
        yield place / NEW
        _swap(place, out, force, in_use)


def strangers(folder: Path, sealed: Mapping[str, str], in_use: Sequence[Path] = ()) -> list[str]:
    """Return the files in a build that were not written by sfnc: relative paths, sorted.

    A sealed file whose content was changed is one, and so is a file that this build is made from, but for the model
    where the new build has its copy.
    """
    used = {os.path.relpath(real(f), folder) for f in in_use} - {"model.onnx"}
    copied = {"model.onnx"} if any(real(f) == folder / "model.onnx" for f in in_use) else set()
    return sorted(n for n in _entries(folder) if n not in copied and (n in used or not _is_own(folder, n, sealed)))


def _entries(folder: Path) -> Iterator[str]:
    """Yield everything below a folder that is no folder; links are not followed."""

    def unreadable(error: OSError) -> None:
        raise error

    for at, folders, files in os.walk(folder, onerror=unreadable):
        place = Path(at)
        leaves = [*files, *(n for n in folders if (place / n).is_symlink())]
        yield from ((place / n).relative_to(folder).as_posix() for n in leaves)


def _is_own(folder: Path, name: str, sealed: Mapping[str, str]) -> bool:
    if name in LIVING or any(name == f".{n}.tmp" or is_scratch_name(name, n) for n in LIVING):
        return True
    if name in sealed:
        return (folder / name).is_file() and file_sha256(folder / name) == sealed[name]
    return _is_cache(name, sealed)


def _is_cache(name: str, sealed: Mapping[str, str]) -> bool:
    """Return whether Python made a file of a sealed module."""
    path = Path(name)
    source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
    return path.parent.name == "__pycache__" and path.suffix == ".pyc" and source.as_posix() in sealed


def _strangers_allowed(out: Path, force: bool, in_use: Sequence[Path]) -> list[str]:
    """Return the strangers of the build at ``out``, none where nothing is there. Raises SFN503."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return []
    sealed = sealed_files(out) if out.is_dir() else None
    if sealed is None:
        raise fail("SFN503", "it exists and is not an sfnc build; it is left alone", str(out), "choose another -o")
    found = strangers(out, sealed, in_use)
    if found and not force:
        raise _refusal(out, found, sealed)
    return found


def _refusal(out: Path, found: Sequence[str], sealed: Mapping[str, str]) -> CompileError:
    said = [f"{name}{_remark(out, name, sealed)}" for name in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    what = f"the build there would be replaced with what is not of its making: {', '.join(said)}{more}"
    return fail("SFN503", what, str(out), "move them away, choose another -o, or give --force, which keeps them in OUT")


def _remark(out: Path, name: str, sealed: Mapping[str, str]) -> str:
    if name not in sealed:
        return ""
    return " (read by this command)" if _is_own(out, name, sealed) else " (changed since)"


def _swap(place: Path, out: Path, force: bool, in_use: Sequence[Path]) -> None:
    """Move the new build to ``out``, and what is there into ``place``."""
    for number in range(_ATTEMPTS):
        earlier = place / f"earlier{number}"
        found = _strangers_allowed(out, force, in_use)
        _keep(out, found, place / NEW)
        if os.path.lexists(out):
            out.rename(earlier)
        try:
            _require_known(earlier, found, force)
            (place / NEW).rename(out)
            break
        except (OSError, CompileError) as error:
            if earlier.exists() and not os.path.lexists(out):
                earlier.rename(out)
            if not isinstance(error, OSError) or error.errno not in _TAKEN or number == _ATTEMPTS - 1:
                raise
    for earlier in scratch.earlier_builds(place):
        scratch.mark_done(earlier)


def _require_known(earlier: Path, found: Sequence[str], force: bool) -> None:
    """Raise SFN503 where a file came into the earlier build while it was moved away."""
    sealed = sealed_files(earlier) if earlier.exists() else None
    if sealed is None:
        return
    new = [n for n in _entries(earlier) if n not in found and n not in sealed and not _is_own(earlier, n, sealed)]
    if new:
        raise _refusal(earlier, new, sealed)


def _keep(out: Path, found: Sequence[str], new: Path) -> None:
    """Put files of an earlier build into the new one, in their place, or under ``kept/`` where that is taken.

    They are linked, not moved: until the new build is, the earlier one has them too.
    """
    taken = {name.name for name in new.iterdir()}  # whole folders: a stranger in a target's would be read there
    for name in found:
        source, same = out / name, new / name
        if same.is_file() and source.is_file() and filecmp.cmp(source, same, shallow=False):
            continue
        _put(source, _free(new / KEPT / name if Path(name).parts[0] in taken else same))


def _free(target: Path) -> Path:
    """Return ``target``, or with a number behind its name where another file has it."""
    found, number = target, 0
    while os.path.lexists(found):
        number += 1
        found = target.with_name(f"{target.name}.{number}")
    return found


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        try:
            os.link(source, target)
        except OSError:  # a file system without links, or a file of another user
            shutil.copy2(source, target)


def _clean(out: Path) -> None:
    """Remove what killed builds left beside ``out``, but for earlier builds with files that ``out`` has not got."""
    scratch.remove_empty(out)
    with scratch.abandoned(out) as places:
        for place in places:
            for earlier in scratch.earlier_builds(place):
                if _is_replaced(earlier, out):
                    scratch.mark_done(earlier)
            scratch.remove(place)


def _is_replaced(earlier: Path, out: Path) -> bool:
    """Return whether ``out`` is a build that has everything of an earlier one that sfnc has not written."""
    sealed = sealed_files(earlier)
    if sealed is None or sealed_files(out) is None:
        return False
    places = ((earlier / n, (out / n, out / KEPT / n)) for n in strangers(earlier, sealed))
    return all(any(_is_same(old, new) for new in there) for old, there in places)


def _is_same(old: Path, new: Path) -> bool:
    if old.is_symlink() or not old.is_file():
        return os.path.lexists(new)
    return new.is_file() and filecmp.cmp(old, new, shallow=False)
