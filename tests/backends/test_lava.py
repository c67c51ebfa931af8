"""The Lava artifact computes what the simulator computes, leaves nothing behind, and reads back as what was emitted.

Runs need a Python with lava-nc (see `sfn_backends/lava/interpreter.py`); where none is found those tests are skipped
with the reason and the command that installs it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend, interpreter, neurons, products
from sfn_backends.lava.artifact import guard

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import (
    Conv,
    Dense,
    Elementwise,
    Identity,
    Move,
    Population,
    Product,
    Program,
    Projection,
    Transpose,
)
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing import conformance
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Builder, check, edge_inputs

from .lava_programs import odd_shapes, products_of_all_ranks, rows_of_all_ranks, skip_over_max_pool, wide_map

PYTHON, PROBLEM = interpreter.find()
needs_lava = pytest.mark.skipif(PYTHON is None, reason=f"lava-nc: {PROBLEM}. {interpreter.INSTALL}")


def emit(program: Program, folder: Path) -> Program:
    folder.mkdir(parents=True, exist_ok=True)
    legal = legalize(program, "lava", LavaBackend.capabilities)
    LavaBackend().emit(legal, folder, {})
    return legal


def request_for(program: Program, time_limit: float = 60.0) -> RunRequest:
    inputs = edge_inputs(program)
    return RunRequest(inputs, run_codes(program, inputs, engine="reference"), time_limit)


def edit(path: Path, **changes: Any) -> None:
    """Replace arrays of an .npz: each change maps an array to an array."""
    with np.load(path) as npz:
        arrays = {key: npz[key] for key in npz.files}
    for key, change in changes.items():
        arrays[key] = change(arrays[key].copy())
    path.write_bytes(program_files.npz_bytes(arrays))


def put(place: Any, value: int) -> Any:
    def change(x: Any) -> Any:
        x[place] = value
        return x

    return change


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes(place: Path) -> list[str]:
    """Processes of guarded runs whose work folder lies in ``place``."""
    marker = f"{guard.WORK}={place}/".encode()
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [path] if marker in Path(path).read_bytes() and running(path.split("/")[2]) else []
    return found


def leftovers(place: Path) -> list[str]:
    """Work folders and processes in ``place``, and shared memory of any run whose creator is gone."""
    blocks = [b for b in glob.glob("/dev/shm/psm_sfnc-lava-*") if not running(b.split("_")[-2])]
    return [*map(str, place.iterdir()), *processes(place), *blocks]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this test's runs; fails where one leaves a process, shared memory or a folder behind."""
    folder = tmp_path_factory.mktemp("place")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    until(lambda: not leftovers(folder), 5.0)
    assert leftovers(folder) == []


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def started(place: Path) -> bool:
    """Whether the Lava network of a run in ``place`` is up: it holds shared memory."""
    return any(glob.glob(f"/dev/shm/psm_{work.name}_*") for work in place.glob("sfnc-lava-*"))


# -- the artifact computes the simulator's integers --------------------------------------------------------------
@needs_lava
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_conformance_case_is_equal_to_the_simulator(case: conformance.Case, tmp_path: Path) -> None:
    result = check(LavaBackend(mode="whole"), case, tmp_path)
    assert result.mode == "whole"
    assert result.executed_by.startswith("lava-nc 0.10.0, Python 3.")


LAYERWISE = [conformance.residual, conformance.pools, conformance.moves, conformance.product_plus_skip,
             products_of_all_ranks, rows_of_all_ranks]  # fmt: skip


@needs_lava
@pytest.mark.parametrize(
    "make",
    [odd_shapes, skip_over_max_pool, wide_map, products_of_all_ranks, rows_of_all_ranks],
    ids=lambda f: f.__name__,
)
def test_unusual_maps_and_names_are_equal_to_the_simulator(make: Any, tmp_path: Path) -> None:
    check(LavaBackend(mode="whole"), conformance.Case(make.__name__, make), tmp_path)


@needs_lava
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("make", LAYERWISE, ids=lambda f: f.__name__)
def test_layer_by_layer_gives_the_same_integers(make: Any, tmp_path: Path) -> None:
    program = emit(make(), tmp_path)
    request = request_for(program)
    result = LavaBackend(mode="layerwise").run(tmp_path, request)
    assert result.mode == "layerwise"
    names = [s.name for s in program.steps if not isinstance(s, Move)]
    assert sorted(result.values) == sorted(names)
    assert [n for n in names if not np.array_equal(result.values[n], request.golden[n])] == []


@needs_lava
def test_auto_runs_layers_alone_above_the_cost_limit_and_only_with_golden_codes(tmp_path: Path) -> None:
    program = emit(conformance.mlp(), tmp_path)
    request = request_for(program)
    assert LavaBackend(whole_limit=0.0).run(tmp_path, request).mode == "layerwise"
    assert LavaBackend(whole_limit=0.0).run(tmp_path, replace(request, golden={})).mode == "whole"


@needs_lava
def test_a_layer_run_alone_uses_the_golden_codes_it_is_given(tmp_path: Path) -> None:
    """Proof that layerwise compares layers one by one: wrong golden codes of h change g and nothing else."""
    program = emit(conformance.mlp(), tmp_path)
    request = request_for(program)
    wrong = {**request.golden, "h": request.golden["h"] * 0}
    values = LavaBackend(mode="layerwise").run(tmp_path, replace(request, golden=wrong)).values
    assert [n for n in ("h", "g", "y") if not np.array_equal(values[n], request.golden[n])] == ["g"]


# -- the folder stands alone -------------------------------------------------------------------------------------
def check_alone(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the folder's own check in the Lava interpreter, from another directory."""
    command = [str(PYTHON), str(folder / "run.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=bare(), timeout=120)


def bare() -> dict[str, str]:
    """An environment that helps neither to find sfnc nor to choose an interpreter."""
    return {k: v for k, v in interpreter.environment().items() if not k.startswith("SFNC")}


@needs_lava
@pytest.mark.usefixtures("place")
def test_check_passes_without_sfnc_and_fails_after_an_edit(tmp_path: Path) -> None:
    folder = tmp_path / "lava"
    emit(conformance.conv_chain(), folder)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    assert not any("sfn_compile" in p.read_text() or "sfn_backends" in p.read_text() for p in folder.rglob("*.py"))
    done = check_alone(folder)
    assert (done.returncode, "OK: 3 of 3 layers equal" in done.stdout) == (0, True), done.stdout + done.stderr
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == files  # no cache, nothing written

    edit(folder / "golden.npz", layer0001=lambda x: x + (np.arange(x.size).reshape(x.shape) == 7))
    done = check_alone(folder)
    assert done.returncode == 1
    assert "different: c2: 1 of" in done.stdout
    assert "changed: golden.npz" in done.stdout
    assert "FAILED: 2 of 3 layers equal" in done.stdout


def test_wrong_usage_of_run_py_is_status_2(tmp_path: Path) -> None:
    emit(conformance.mlp(), tmp_path)
    command = [sys.executable, str(tmp_path / "run.py"), "--input", "x.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--input and --output" in done.stderr) == (2, True)


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


# -- reload --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", [*CASES, *SEVERAL_INPUTS, conformance.Case("odd_shapes", odd_shapes)], ids=str)
def test_reload_is_the_inverse_and_two_emits_are_byte_identical(case: conformance.Case, tmp_path: Path) -> None:
    program = emit(case.make(), tmp_path / "a")
    emit(case.make(), tmp_path / "b")
    assert program_files.digest(LavaBackend().reload(tmp_path / "a")) == program_files.digest(program)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert [f for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()] == []


def drifts() -> list[tuple[str, str]]:
    """Every integer array of a network that has all kinds of connections and neurons."""
    return [
        (f.__name__, key)
        for f in (odd_shapes, conformance.conv_chain, conformance.gather, products_of_all_ranks, rows_of_all_ranks)
        for key in _tensors(f)
    ]


def _tensors(make: Any) -> list[str]:
    from sfn_backends.lava.describe import describe

    return list(describe(legalize(make(), "lava", LavaBackend.capabilities))[1])


@pytest.mark.parametrize(("make", "key"), drifts())
def test_reload_sees_one_changed_integer_in_any_tensor(make: str, key: str, tmp_path: Path) -> None:
    program = emit(globals().get(make, getattr(conformance, make, None))(), tmp_path)
    edit(tmp_path / "tensors.npz", **{key: lambda x: x + 2 * (np.arange(x.size).reshape(x.shape) == x.size // 2)})
    assert digest_or_code(tmp_path) not in (program_files.digest(program), "SFN901")


def digest_or_code(folder: Path) -> str:
    """What reload makes of a folder: a digest, or SFN503 where an integer is none that a map can mean."""
    try:
        return program_files.digest(LavaBackend().reload(folder))
    except CompileError as error:
        return error.diagnostics[0].code


@pytest.mark.parametrize("change", [("stride", [1, 1]), ("padding", [0, 0]), ("source", "c1"), ("delay", 1)])
def test_reload_refuses_a_manifest_that_makes_lava_run_another_network(change: Any, tmp_path: Path) -> None:
    emit(conformance.conv_chain(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["layers"][0]["connections"][0][change[0]] = change[1]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompileError, match="SFN503"):
        LavaBackend().reload(tmp_path)


def test_a_drifted_weight_reads_back_as_that_weight(tmp_path: Path) -> None:
    emit(conformance.conv_chain(), tmp_path)
    edit(tmp_path / "tensors.npz", layer0001_0_weight=put((0, 0, 2, 1), 77))
    first = LavaBackend().reload(tmp_path).steps[1]
    assert isinstance(first, Population)
    linear = first.projections[0].map
    assert isinstance(linear, Conv)
    assert linear.weight[0, 1, 0, 2] == 77  # (o, kw, kh, c) flipped is (o, c, kh, kw)


# -- what does not fit, and where Lava is not ----------------------------------------------------------------------
def test_a_connection_that_would_wrap_alone_is_refused(tmp_path: Path) -> None:
    """Two connections whose ranges cancel: the sum fits 24 bits, each alone does not, and Conv wraps each alone."""
    b = Builder((300,), lo=250, hi=255)
    w = np.full((2, 300), 127, np.int64)
    b.fire("y", Projection("x", Dense(w)), Projection("x", Dense(-w)))
    assert abs(b.build("y").values()["y"].hi) < 2**23
    with pytest.raises(CompileError, match=r"SFN401.*alone reaches 9715500"):
        emit(b.build("y"), tmp_path)


def test_a_product_that_would_wrap_alone_is_refused(tmp_path: Path) -> None:
    b = Builder((3,), lo=240, hi=260)
    b.fire("y", Product("x", "x", Elementwise(np.array(127))), Product("x", "x", Elementwise(np.array(-127))))
    with pytest.raises(CompileError, match=r"SFN401.*product of x and x into y alone reaches 8585200"):
        emit(b.build("y"), tmp_path)


def test_a_row_whose_sum_would_wrap_is_refused(tmp_path: Path) -> None:
    b = Builder((50_000,), hi=255)
    b.share("y", Projection("x", Identity(np.array(1))), norm="x", axis=0)
    with pytest.raises(CompileError, match=r"SFN401.*row sum of x into y alone reaches 12750000"):
        emit(b.build("y"), tmp_path)


@pytest.mark.parametrize(("key", "value"), [("axis", 0), ("delay", 1), ("source", "x")])
def test_reload_refuses_a_row_sum_that_makes_lava_run_another_network(key: str, value: Any, tmp_path: Path) -> None:
    """Drift of what scales the thresholds; a wrong delay would mix two samples."""
    program = emit(rows_of_all_ranks(), tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    (norm,) = [layer["norm"] for layer in manifest["layers"] if layer["name"] == "m"]
    assert norm[key] != value
    norm[key] = value
    path.write_text(json.dumps(manifest))
    assert digest_or_code(tmp_path) not in (program_files.digest(program), "SFN901")


def test_a_move_that_was_not_folded_is_refused(tmp_path: Path) -> None:
    b = Builder((2, 3, 4))
    program = b.build(b.move("t", Transpose((2, 0, 1)), "x"))
    with pytest.raises(CompileError, match=r"SFN402.*Transpose"):
        LavaBackend().emit(program, tmp_path, {})


def test_without_lava_the_reason_and_the_command_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = emit(conformance.mlp(), tmp_path)
    monkeypatch.setenv(interpreter.VARIABLE, str(tmp_path / "no-such-python"))
    reason = LavaBackend().available()
    assert reason is not None
    assert "no-such-python" in reason
    assert "pip install lava-nc==0.10.0" in reason
    with pytest.raises(CompileError, match="SFN601"):
        LavaBackend().run(tmp_path, request_for(program))


def test_sfnc_itself_never_imports_lava() -> None:
    code = "import sys, sfn_backends.lava; print([m for m in sys.modules if m.split('.')[0] in ('lava', 'scipy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_record_of_an_unknown_neuron_or_product_is_no_readout_and_no_elementwise_product():
    with pytest.raises(ValueError, match="no neuron is called 'spike'"):
        neurons.decode({"kind": "spike", "offset": "w", "offset_shape": (1,)}, {"w": np.zeros(1, np.int64)}, 1)
    record = {"form": "Maximum", "left": "a", "right": "b", "weight": "w", "left_shape": (1,), "weight_shape": (1,)}
    with pytest.raises(ValueError, match="no product is called 'Maximum'"):
        products.decode(record, {"w": np.ones(1, np.int64)})
