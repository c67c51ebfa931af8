"""A Lava run that fails: an error within the limit, and nothing is left."""

from __future__ import annotations

import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend
from sfn_backends.lava.artifact import guard

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.testing import conformance

from .lava_runs import PYTHON, bare, edit, emit, leftovers, needs_lava, processes, request_for, started, until


# -- failure: an error within the limit, and nothing is left ---------------------------------------------------------
@needs_lava
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("key", "broken"),
    [
        ("layer0000_theta", lambda x: np.ones((3, 3), np.int8)),  # our neuron cannot broadcast: raises in run_spk
        ("layer0001_0_weight", lambda x: x[:, :, :, :3]),  # Lava's own Conv runs out of channels: raises in run_spk
        ("layer0000_0_weight", lambda x: x[0]),  # no kernel at all: raises while the network is built
    ],
    ids=["our-model", "stock-model", "build"],
)
def test_a_model_that_raises_is_an_error_at_once_and_leaves_nothing(key: str, broken: Any, tmp_path: Path) -> None:
    program = emit(conformance.conv_chain(), tmp_path)
    edit(tmp_path / "tensors.npz", **{key: broken})
    begin = time.monotonic()
    with pytest.raises(CompileError) as caught:
        LavaBackend(mode="whole").run(tmp_path, request_for(program, time_limit=60.0))
    assert caught.value.diagnostics[0].code == "SFN603"
    assert "Traceback" in str(caught.value)
    assert time.monotonic() - begin < 30.0


def slow(folder: Path) -> None:
    """Make every neuron of an artifact wait for a minute."""
    path = folder / "sfnproc" / "neurons.py"
    text = path.read_text()
    assert "    def run_spk(self):\n" in text
    path.write_text(
        text.replace("    def run_spk(self):\n", "    def run_spk(self):\n        __import__('time').sleep(60)\n")
    )


@needs_lava
@pytest.mark.usefixtures("place")
def test_a_run_that_takes_too_long_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    program = emit(conformance.mlp(), tmp_path)
    slow(tmp_path)
    begin = time.monotonic()
    with pytest.raises(CompileError, match=r"SFN603.*had not finished after 3 s"):
        LavaBackend().run(tmp_path, request_for(program, time_limit=3.0))
    assert time.monotonic() - begin < 15.0


@needs_lava
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_the_run_ends_with_its_parent_however_that_ends(how: signal.Signals, tmp_path: Path, place: Path) -> None:
    emit(conformance.mlp(), tmp_path)
    slow(tmp_path)
    command = [str(PYTHON), str(tmp_path / "run.py"), "--check"]
    # A shell that starts a job in the background lets it ignore SIGINT, and its children inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=bare(), preexec_fn=heed)
    assert until(lambda: started(place)), "Lava did not start"
    parent.send_signal(how)
    parent.wait(20)


@needs_lava
def test_what_a_killed_run_leaves_is_seen_and_cleaned(tmp_path: Path, place: Path) -> None:
    """Proof that the fixture can fail: processes while Lava runs, shared memory where it is killed without cleaning."""
    emit(conformance.mlp(), tmp_path)
    slow(tmp_path)
    with guard.workspace() as work:
        command = [str(PYTHON), str(tmp_path / "run.py"), "--check"]
        environment = {**bare(), guard.WORK: work, "TMPDIR": work}
        leader = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment)
        assert until(lambda: started(place) and len(processes(place)) > 5)
        guard._end(leader)
        assert processes(place) == []
        assert any("psm_" in x for x in leftovers(place))


LOST_MESSAGE = """
import sys, threading, time
from types import SimpleNamespace
import numpy as np
sys.path.insert(0, sys.argv[1])
import compat
if sys.argv[2] == "as it is":
    compat._mend_channels = lambda: None
compat.prepare()
from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspSelector, NoOPWatchdog, Proto
message, none = threading.Semaphore(0), NoOPWatchdog(None)
memory = SimpleNamespace(buf=memoryview(bytearray(64)))
port = CspRecvPort("p", memory, Proto((1,), np.int32, 4), 2, message, threading.Semaphore(0), none, none)
look = port.probe
def slow_look():
    seen = look()
    if threading.current_thread() is port.thread:
        time.sleep(0.4)
    return seen
port.probe = slow_look
port.start()
message.release(); time.sleep(0.8)      # the first message is in
message.release(); time.sleep(0.1)      # the second one is on its way while ...
port.recv()                             # ... the reader takes the first
reader = threading.Thread(target=lambda: CspSelector().select((port, lambda: None)), daemon=True)
reader.start(); reader.join(3)
print("waits for ever" if reader.is_alive() else "received")
"""


@needs_lava
@pytest.mark.parametrize(("channels", "end"), [("as it is", "waits for ever"), ("mended", "received")])
def test_a_message_that_arrives_while_the_reader_looks_away_is_not_lost(
    channels: str, end: str, tmp_path: Path
) -> None:
    """Proof that Lava's channels hang by themselves now and then, and that those of the artifact do not."""
    emit(conformance.mlp(), tmp_path)
    command = [str(PYTHON), "-c", LOST_MESSAGE, str(tmp_path), channels]
    done = subprocess.run(command, capture_output=True, text=True, env=bare(), timeout=60)
    assert done.stdout.strip() == end, done.stderr


def test_cleaning_up_touches_no_other_run(tmp_path: Path) -> None:
    with guard.workspace() as mine, guard.workspace() as other:
        blocks = [Path(f"/dev/shm/psm_{Path(w).name}_1_0") for w in (mine, other)]
        for block in blocks:
            block.write_bytes(b"x")
        guard.clean(mine)
        assert [b.exists() for b in blocks] == [False, True]
    assert not blocks[1].exists()
