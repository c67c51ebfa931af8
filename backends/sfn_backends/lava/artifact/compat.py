# mypy: ignore-errors
"""Make lava-nc 0.10.0 import on Python 3.11 and later, name its shared memory, and not hang."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import sys
import traceback
from multiprocessing import shared_memory

import guard
import numpy as np

_numbers = itertools.count()
_SharedMemory = shared_memory.SharedMemory


class MarkedSharedMemory(_SharedMemory):
    """Shared memory whose name starts with the marker of this run, so that ``guard.clean`` can find it."""

    def __init__(self, name=None, create=False, size=0, **options):
        """Attach to ``name``, or create a block under the next free marked name."""
        if create and name is None and guard.WORK in os.environ:
            name = f"psm_{os.path.basename(os.environ[guard.WORK])}_{os.getpid()}_{next(_numbers)}"
        super().__init__(name, create, size, **options)


def prepare() -> None:
    """Patch what has to be patched; call it before anything else of Lava is imported."""
    shared_memory.SharedMemory = MarkedSharedMemory
    if sys.version_info >= (3, 11):
        _import_with_hashable_default()
    from lava.magma.runtime.message_infrastructure.multiprocessing import SystemProcess

    def run(process):
        """Run one process model; its failure ends the run, as Lava would wait for its messages for ever."""
        try:
            multiprocessing.Process.run(process)
            process._cconn.send(None)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            guard.end_group()
            raise

    SystemProcess.run = run
    _mend_channels()
    _mend_conv()


def _mend_channels() -> None:
    """Replace the two callbacks of Lava's channels that can miss a message, after which the network waits for ever.

    Theirs reads ``self.observer`` twice (the reader may set it to None in between, which ends the thread), and does
    not wake a reader that emptied the channel between its two looks at it. Waking one too often does no harm.
    """
    from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspSendPort

    def received(port, request):
        with contextlib.suppress(EOFError):
            while request.acquire() and not port._done:
                port._queue.put_nowait(0)
                _notify(port)

    def acknowledged(port, acknowledgement):
        with contextlib.suppress(EOFError):
            while acknowledgement.acquire() and not port._done:
                port._semaphore.release()
                _notify(port)

    CspRecvPort._req_callback = received
    CspSendPort._ack_callback = acknowledged


def _notify(port):
    observer = port.observer
    if observer is not None:
        observer()


def _mend_conv() -> None:
    """Hand Lava's Conv its parameters as Python integers; the sums stay its own.

    It keeps them in int8 and computes sizes with them: twice a padding of 70 wraps, and NumPy 2 refuses 130 channels.
    """
    from lava.proc.conv import utils

    conv = utils.conv

    def with_integers(source, weight, *parameters):
        return conv(source, weight, *(np.asarray(p).tolist() for p in parameters))

    utils.conv = with_integers


def _import_with_hashable_default() -> None:
    """Import the one module whose dataclass has a dataclass as a default: refused since 3.11 unless hashable."""
    real = dataclasses.dataclass

    def patched(cls=None, /, **options):
        if cls is not None and cls.__name__ == "ByteEncoder":
            options.setdefault("unsafe_hash", True)
        return real(cls, **options)

    dataclasses.dataclass = patched
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = real
