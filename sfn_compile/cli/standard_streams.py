"""What to do where nobody reads what is printed any more: ``sfnc ops | head``."""

from __future__ import annotations

import os
import select
import sys
from typing import TextIO


def silence_closed() -> bool:
    """Silence standard output and error where the other end of their pipe is closed; return whether one of them was.

    Python would otherwise complain when it empties their buffers at the end.
    """
    closed = [_silence_if_closed(stream) for stream in (sys.stdout, sys.stderr)]
    return any(closed)


def silence(stream: TextIO | None) -> None:
    """Send everything that is still printed to a stream nowhere."""
    descriptor = _descriptor(stream)
    if descriptor is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _silence_if_closed(stream: TextIO | None) -> bool:
    descriptor = _descriptor(stream)
    if descriptor is None:
        return False
    waiting = select.poll()
    waiting.register(descriptor, 0)
    closed = any(events & (select.POLLERR | select.POLLHUP) for _, events in waiting.poll(0))
    if closed:
        silence(stream)
    return closed


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # a stream of a test, or a closed one
        return None
