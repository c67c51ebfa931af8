"""What the command line asks of a search, and what it refuses."""

from __future__ import annotations

import sys

import pytest

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.search.plan import Limit, Search, read_budget, strategy_of

from ..commands.cli_helpers import CALIB, DIGITS, document, refused, sfnc, succeeds


def test_a_cost_up_to_one_is_a_share_and_above_a_number_a_loss_is_always_a_factor():
    found = read_budget(("spikes=0.5,memory=1", "synops=1.5", "loss=3"))
    assert found == {"spikes": Limit(0.5, True), "memory": Limit(1.0, True), "synops": Limit(1.5, False),
                     "loss": Limit(3.0, True)}  # fmt: skip
    assert (found["spikes"].of(80), found["synops"].of(80)) == (40, 1.5)


@pytest.mark.parametrize("text", ["spikes", "spikes=", "spikes=0", "spikes=-1", "spikes=nan", "energy=1", "=1", ""])
def test_budgets_that_say_nothing(text):
    with pytest.raises(CompileError, match="SFN605"):
        read_budget((text,))


def test_the_layer_wise_strategies_have_a_budget_where_none_is_given():
    assert Search("allocate").limits == {"spikes": Limit(0.5, True)}
    assert list(Search("compress").limits) == ["loss"]
    assert Search("tpe").limits == {}
    assert list(Search("compress", budget=read_budget(("spikes=0.5",))).limits) == ["spikes"]


def test_without_optuna_a_bare_search_is_a_grid_and_tpe_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert strategy_of("auto") == ("grid", True)
    assert strategy_of("compress") == ("compress", False)
    with pytest.raises(CompileError, match=r"(?s)SFN704.*sfnc\[search\]"):
        Search("tpe").check()


def test_a_bare_search_without_optuna_says_aloud_that_it_was_a_grid(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = succeeds(DIGITS, "--calib", CALIB, "--samples", 100, "-o", tmp_path / "out", "--search", "--trials", 2)
    assert "warning SFN705: optuna is not installed: a grid was searched instead of tpe" in " ".join(
        done.stderr.split()
    )
    report = document(tmp_path / "out" / "report.json")
    assert report["search"]["strategy"] == "grid"
    assert "SFN705" in [w["code"] for w in report["warnings"]]


def test_a_bare_search_is_tpe_where_optuna_is():
    pytest.importorskip("optuna", reason="optuna is not installed: pip install 'sfnc[search]'")
    assert strategy_of("auto") == ("tpe", False)


def test_a_plain_network_that_cannot_be_mapped_is_refused_by_its_own_code(tmp_path):
    options = ("-o", tmp_path / "out", "--search", "grid", "--trials", 2, "--acc-bits", 8, "--levels", 255)
    refused("SFN401", 4, DIGITS, "--calib", CALIB, "--samples", 100, *options)


@pytest.mark.parametrize(
    ("code", "status", "options", "words"),
    [
        ("SFN605", 2, ("--search", "grid", "--trials", 0), "--trials 0"),
        ("SFN605", 2, ("--search", "allocate", "--trials", 12), "needs 13 at least"),
        ("SFN605", 2, ("--search", "grid", "--budget", "spikes"), "spikes=0.5"),
        ("SFN605", 2, ("--search", "grid", "--budget", "loss=2"), "compress"),
        ("SFN605", 2, ("--search", "grid", "--workers", 0), "--workers 0"),
        ("SFN605", 2, ("--search", "grid", "--workers", 2, "--cluster", "tcp://x:1"), "leave one of them out"),
        ("SFN605", 2, ("--trials", 3), "without --search"),
        ("SFN605", 2, ("--budget", "spikes=0.5"), "without --search"),
        ("SFN605", 2, ("--workers", 2), "without --search"),
        ("SFN701", 3, ("--search", "grid", "--samples", 63), "63 samples"),
    ],
)
def test_searches_that_make_no_sense(tmp_path, code, status, options, words):
    message = refused(code, status, DIGITS, "--calib", CALIB, "-o", tmp_path / "out", *options)
    assert words in message
    assert not (tmp_path / "out").exists()


def test_a_search_needs_real_samples(tmp_path):
    assert "without --calib" in refused("SFN701", 3, DIGITS, "-o", tmp_path / "out", "--search", "grid")


def test_accuracy_needs_labels(tmp_path):
    import numpy as np

    with np.load(CALIB) as npz:
        np.savez(tmp_path / "bare.npz", image=npz["image"])
    options = ("-o", tmp_path / "out", "--search", "grid", "--objective", "accuracy")
    assert "--objective agreement" in refused("SFN307", 3, DIGITS, "--calib", tmp_path / "bare.npz", *options)


def test_a_strategy_that_does_not_exist():
    done = sfnc(DIGITS, "--search", "anneal")
    assert done.exit_code == 2
    assert "anneal" in done.stderr
