"""Many processes and clusters find the numbers of one process, also where a worker ends in the middle."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.commands.evaluate import evaluate
from sfn_compile.evaluation import side_by_side
from sfn_compile.evaluation.side_by_side import Tally
from sfn_compile.evaluation.spread import gather
from sfn_compile.files.build_folder import load_golden
from sfn_compile.foundation.diagnostics import CompileError, fail
from sfn_compile.foundation.options import Machine

from ..commands.cli_helpers import TEST, document, refused, succeeds

forked = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks while other threads live


@pytest.fixture
def data(tmp_path) -> Path:
    """Enough samples for thirty pieces, the last of them short."""
    with np.load(TEST) as npz:
        arrays = {name: np.concatenate([npz[name]] * 3 + [npz[name][:100]]) for name in npz.files}
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


# -- what was computed counts once ----------------------------------------------------------------------------------
def test_pieces_count_once_however_often_and_in_whatever_order_they_come():
    def crew(numbers):
        for number in [*reversed(numbers), *numbers]:
            yield number, Tally(n=64)

    assert sum(t.n for t in gather(crew, 640).values()) == 640


def test_pieces_that_were_lost_are_given_out_again_and_no_others():
    asked = []

    def crew(numbers):
        asked.append(list(numbers))
        for number in numbers[: len(numbers) // 2 + 1]:
            yield number, Tally(n=1)

    assert sorted(gather(crew, 64 * 5)) == [0, 1, 2, 3, 4]
    assert asked == [[0, 1, 2, 3, 4], [3, 4]]


def test_pieces_that_are_lost_again_and_again_end_in_a_code():
    with pytest.raises(CompileError, match=r"SFN607: 2 of 3 pieces were lost 3 times") as caught:
        gather(lambda numbers: iter([(0, Tally(n=64))]), 192)
    assert caught.value.exit_code == 5


def test_a_failure_crosses_processes_with_its_code():
    import pickle

    again = pickle.loads(pickle.dumps(fail("SFN307", "labels run from 0 to 99", "here", "fix it")))
    assert str(again) == str(fail("SFN307", "labels run from 0 to 99", "here", "fix it"))
    assert again.exit_code == 3


# -- processes ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("workers", [2, 3])
def test_processes_find_the_numbers_of_one(out, data, workers):
    one = evaluate(out, data)
    steps = []
    many = evaluate(out, data, progress=lambda *step: steps.append(step), machine=Machine(workers=workers))
    assert many == one
    assert document(out / "eval.json") == one
    assert steps[-1] == ("evaluate", one["accuracy"]["n"], one["accuracy"]["n"])


@forked
def test_a_process_that_ends_in_the_middle_takes_nothing_with_it(out, data, tmp_path, monkeypatch):
    """The fifth piece kills its process, the first time."""
    one, plain = evaluate(out, data), side_by_side.Pair.tally
    with np.load(data) as npz:
        fifth = npz["image"][256:320]

    def deadly(self, x, labels):
        if np.array_equal(x["image"], fifth) and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, x, labels)

    monkeypatch.setattr(side_by_side.Pair, "tally", deadly)
    assert evaluate(out, data, machine=Machine(workers=2)) == one
    assert (tmp_path / "killed").exists()


def test_labels_that_fit_no_class_are_refused_by_processes_as_by_one(out, tmp_path):
    x = load_golden(out)[0]["image"]
    np.savez(tmp_path / "bad.npz", image=x, labels=np.full(len(x), 99))
    for more in ((), ("--workers", 2)):
        assert "labels run from 99 to 99" in refused("SFN307", 3, "eval", out, "--data", tmp_path / "bad.npz", *more)


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--workers", 0), "--workers 0"), (("--threads", 0), "--threads 0"),
     (("--workers", 2, "--cluster", "tcp://x:1"), "leave one of them out"),
     (("--workers", 2, "--on", "onnx"), "runs in one process")],
)  # fmt: skip
def test_choices_that_make_no_sense_are_refused(out, options, words):
    assert words in refused("SFN605", 2, "eval", out, "--data", TEST, *options)


def test_threads_and_engine_change_no_number(out, tmp_path):
    found = []
    for options in ((), ("--threads", 1), ("--engine", "reference"), ("--engine", "fast", "--threads", 3)):
        succeeds("eval", out, "--data", TEST, "--samples", 100, *options)
        succeeds("run", out, "--input", TEST, "-o", tmp_path / "y.npz", "--codes", *options)
        succeeds("verify", out, *options)
        with np.load(tmp_path / "y.npz") as npz:
            found.append((document(out / "eval.json"), document(out / "proof.json"),
                          {name: npz[name].tobytes() for name in npz.files}))  # fmt: skip
    assert all(one == found[0] for one in found)


# -- a cluster ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cluster():
    """A real local cluster: a scheduler and three worker processes, each with a nanny."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'sfnc[cluster]'")
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as here:
        yield here


ignored = pytest.mark.filterwarnings("ignore")


@ignored
def test_a_cluster_finds_the_numbers_of_one_process(cluster, out, data):
    one = evaluate(out, data)
    succeeds("eval", out, "--data", data, "--cluster", cluster.scheduler_address, "--quiet")
    assert document(out / "eval.json") == one


@ignored
def test_a_worker_that_is_killed_in_the_middle_loses_nothing_and_nothing_counts_twice(cluster, out, data):
    from distributed import Client

    one, killed, done = evaluate(out, data), [], []

    def kill_one(stage: str, so_far: int, total: int) -> None:
        done.append(so_far)
        if not killed and so_far < total // 2:
            with Client(cluster.scheduler_address, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    many = evaluate(out, data, progress=kill_one, machine=Machine(cluster=cluster.scheduler_address))
    assert killed
    assert many == one
    assert done == sorted(set(done))
    assert done[-1] == one["accuracy"]["n"]


@ignored
def test_labels_that_fit_no_class_are_refused_by_a_cluster_too(cluster, out, tmp_path):
    x = load_golden(out)[0]["image"]
    np.savez(tmp_path / "bad.npz", image=x, labels=np.full(len(x), 99))
    options = ("--data", tmp_path / "bad.npz", "--cluster", cluster.scheduler_address)
    assert "labels run from 99 to 99" in refused("SFN307", 3, "eval", out, *options)


@ignored
def test_a_scheduler_that_does_not_answer_ends_in_a_code(out, monkeypatch):
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'sfnc[cluster]'")
    monkeypatch.setattr("sfn_compile.evaluation.dask_cluster.PATIENCE", 1)
    refused("SFN607", 5, "eval", out, "--data", TEST, "--cluster", "tcp://127.0.0.1:9")


def test_a_cluster_without_dask_says_what_to_install(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = refused("SFN607", 5, "eval", out, "--data", TEST, "--cluster", "tcp://127.0.0.1:9")
    assert "pip install 'sfnc[cluster]'" in message
