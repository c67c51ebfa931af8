"""The folder beside OUT in which a build is written, and in which the earlier build lies while the two change places.

    .OUT.sfnc-1a2b3c4d/
      sfnc.lock     says what this is; its lock is held by the process that builds
      new/          the build that is written
      earlier0/     the build that stood at OUT, from the moment it is moved away until the new one is in its place
      done0/        the same afterwards: it is being removed

Killed at any moment, it is found again by its name and by what is in it, and only then: a folder of another program
with such a name has other files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .atomic_files import disk, hold, is_scratch_name, scratch_name, take

LOCK = "sfnc.lock"
NEW = "new"
_PART = re.compile(r"new|(earlier|done)\d+")
_ATTEMPTS = 100


def real(out: Path) -> Path:
    """Return the folder itself: "." has no name to make a neighbour's of, and of a link the folder is replaced."""
    return Path(os.path.realpath(out))


@contextlib.contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside ``out`` that holds an empty ``new/``; at the end it is removed. Raises SFN602."""
    with disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        place, holder = _new_folder(out)
    try:
        with disk(out):
            os.write(holder, json.dumps({"program": "sfnc", "out": out.name}).encode())
            (place / NEW).mkdir()
        yield place
    finally:
        remove(place)
        os.close(holder)


def _new_folder(out: Path) -> tuple[Path, int]:
    """Return a folder beside ``out`` and the descriptor that holds its lock."""
    for _ in range(_ATTEMPTS):
        place = out.with_name(scratch_name(out.name))
        place.mkdir()
        try:
            holder = os.open(place / LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # another build of this OUT took the empty folder for a leftover
            continue
        except OSError:
            remove(place)
            raise
        if hold(holder):
            return place, holder
        os.close(holder)
    raise OSError(errno.EBUSY, "another program removes every new folder")


def remove(place: Path) -> None:
    """Remove a scratch folder, its lock last, so that it can be recognised until it is gone.

    An ``earlier`` build that nobody called done stays: it may be all that there is.
    """
    for part in _parts(place):
        if not part.name.startswith("earlier"):
            shutil.rmtree(part, ignore_errors=True)
    if _parts(place):
        return
    with contextlib.suppress(OSError):
        (place / LOCK).unlink(missing_ok=True)
        place.rmdir()


def mark_done(earlier: Path) -> None:
    """Say that nothing in an earlier build is needed any more."""
    earlier.rename(earlier.with_name(earlier.name.replace("earlier", "done")))


def earlier_builds(place: Path) -> list[Path]:
    """Return the builds that stood at OUT and were moved away, oldest first."""
    found = [p for p in _parts(place) if p.name.startswith("earlier")]
    return sorted(found, key=lambda p: int(p.name.removeprefix("earlier")))


@contextlib.contextmanager
def abandoned(out: Path) -> Iterator[list[Path]]:
    """Yield the scratch folders of ``out`` whose builds were killed; until the end they are locked for others."""
    holders: dict[Path, int] = {}
    try:
        for place in _candidates(out):
            holder = take(place / LOCK)
            if holder is not None:
                holders[place] = holder
        yield list(holders)
    finally:
        for holder in holders.values():
            os.close(holder)


def remove_empty(out: Path) -> None:
    """Remove what a build left that was killed between making its folder and the lock in it."""
    for place in _named(out):
        with contextlib.suppress(OSError):
            place.rmdir()  # refused by the system where anything is in it


def restore(out: Path) -> None:
    """Move the earlier build back where a build was killed after it had moved it away from ``out``."""
    out = real(out)
    if os.path.lexists(out):
        return
    with abandoned(out) as places:
        found = [e for place in places for e in earlier_builds(place)[-1:]]
        if not found:
            return
        latest = max(found, key=lambda e: e.stat().st_ctime_ns)
        with contextlib.suppress(OSError):  # where it cannot be, the caller finds no build
            latest.rename(out)


def _candidates(out: Path) -> list[Path]:
    return [place for place in _named(out) if _is_ours(place, out.name)]


def _named(out: Path) -> list[Path]:
    try:
        found = list(out.parent.iterdir())
    except OSError:
        return []
    return [p for p in found if is_scratch_name(p.name, out.name) and p.is_dir() and not p.is_symlink()]


def _is_ours(place: Path, name: str) -> bool:
    """Return whether a folder holds a lock for ``name`` and nothing but what is in the table above."""
    try:
        others = set(os.listdir(place)) - {LOCK}
        said = (place / LOCK).read_bytes()
        return all(_PART.fullmatch(o) for o in others) and (not said or json.loads(said)["out"] == name)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _parts(place: Path) -> list[Path]:
    try:
        return [p for p in place.iterdir() if _PART.fullmatch(p.name)]
    except OSError:
        return []
