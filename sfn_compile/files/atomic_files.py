"""Files that are written beside their place and moved, so that a reader and a killed program leave them whole.

What is unfinished is called ``.NAME.sfnc-`` and eight hexadecimal digits. The process that writes it holds its lock,
which the system releases when the process ends, however it ends: a leftover is a name of this form without a holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from ..foundation.diagnostics import fail

_LONGEST = 200  # bytes of a name that are repeated in the name of what is unfinished; a file system allows 255 in all
_ATTEMPTS = 100


@contextlib.contextmanager
def disk(path: Path, fix: str = "free some space or choose another -o") -> Iterator[None]:
    """Raise SFN602 where the system refuses something to do with ``path``; a closed pipe is none of its faults."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail("SFN602", f"cannot write: {error.strerror or error}", str(path), fix) from error


def scratch_name(name: str) -> str:
    """Return a temporary name for the file that will be ``name``."""
    return f".{_short(name)}.sfnc-{secrets.token_hex(4)}"


def is_scratch_name(found: str, name: str) -> bool:
    """Return whether ``found`` is a name that :func:`scratch_name` may have made of ``name``."""
    return re.fullmatch(re.escape(f".{_short(name)}.sfnc-") + "[0-9a-f]{8}", found) is not None


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, and remove what killed programs left of it. Raises OSError.

    Of a symbolic link the file it names is replaced, and the link stays.
    """
    path = Path(os.path.realpath(path))
    clean_leftovers(path)
    scratch, holder = _new_file(path)
    try:
        with os.fdopen(holder, "wb") as file:
            file.write(content)
            file.flush()
            scratch.replace(path)  # before the lock is released
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _new_file(path: Path) -> tuple[Path, int]:
    """Return a new empty file beside ``path`` and its descriptor, which holds its lock."""
    for _ in range(_ATTEMPTS):
        scratch = path.with_name(scratch_name(path.name))
        holder = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        if hold(holder):
            return scratch, holder
        os.close(holder)
    raise OSError(errno.EBUSY, "another program removes every new file")


def clean_leftovers(path: Path) -> None:
    """Remove the unfinished files of ``path`` whose writers have ended; others' files are left alone."""
    for found in _siblings(path):
        if is_scratch_name(found.name, path.name) and found.is_file() and not found.is_symlink():
            holder = take(found)
            if holder is not None:
                with contextlib.suppress(OSError):
                    found.unlink()
                os.close(holder)


def _siblings(path: Path) -> list[Path]:
    try:
        return list(path.parent.iterdir())
    except OSError:  # nothing can be found in a folder that cannot be listed
        return []


def hold(descriptor: int) -> bool:
    """Take the lock of a file that was just made; return False where another process removed it meanwhile.

    A file system without locks leaves it unlocked: then nobody can take it, so nobody removes it.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return os.fstat(descriptor).st_nlink > 0


def take(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a file whose writer has ended; None where it has not."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
