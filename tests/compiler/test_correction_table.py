"""The table of corrections and its driver: order, conditions, rows; and what one more correction takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.cli.terminal import _correction_line
from sfn_compile.compiler import corrections
from sfn_compile.compiler.corrections import CORRECTIONS, Correction, corrected
from sfn_compile.compiler.draft import Work, first_draft
from sfn_compile.compiler.gauge import Gauge
from sfn_compile.foundation.options import Options, SiteOptions
from sfn_compile.graph.ops import IntegerSite, Layer

from ..commands.cli_helpers import CALIB, DIGITS, document, succeeds
from ..frontend.tiny_onnx import imported, noise, tiny
from ..passes.pass_examples import EvaluatedRunner, structured


class Runner(EvaluatedRunner):
    def of(self, graph):
        return Runner(graph)


@pytest.fixture
def work(tmp_path):
    """A chain of convolutions at 7 levels with 16 samples, and every pass that ran."""
    body = "a = Conv(x, w) r = Relu(a) d = Conv(r, v) t = Relu(d) y = Conv(t, u)"
    weights = {"w": noise(4, 3, 3, 3), "v": noise(4, 4, 2, 2), "u": noise(3, 4, 2, 2)}
    graph = structured(imported(tiny(body, (3, 6, 6), **weights), tmp_path))
    x, runner, ran = {"x": noise(16, 3, 6, 6, seed=1)}, Runner(graph), []
    options = Options(levels=7, reconstruct=False)
    return Work(graph, runner, collect(graph, runner, x), x, options, lambda name, _: ran.append(name),
                lambda *done: None), ran  # fmt: skip


def names(rows):
    return [row["correction"] for row in rows]


@pytest.mark.parametrize(("options", "want"), [
    ({}, ["correct-bias"]),
    ({"equalize": True}, ["equalize", "correct-bias"]),
    ({"digit_share": 2.0}, ["correct-bias", "more-levels", "two-digits"]),
    ({"fine_share": 1.0}, ["correct-bias", "more-levels"]),
    ({"reconstruct": True, "fine_share": 0.0, "digit_share": 0.0}, ["correct-bias", "reconstruct"]),
])  # fmt: skip
def test_corrections_run_in_the_order_of_the_table_where_they_apply(work, options, want):
    given, _ = work
    given = replace(given, options=replace(given.options, **options))
    graph, rows = corrected(given, Gauge(given.origin, given.runner, given.x))
    assert names(rows) == want
    assert want == [one.name for one in CORRECTIONS if one.name in want]
    for before, after in pairwise(rows):
        assert after["outputs_db_before"] == before["outputs_db_after"]
    assert "weights-integer" in graph.invariants


def test_without_a_gauge_nothing_is_measured(work):
    assert corrected(work[0], None)[1] == []


def test_more_levels_repeats_what_led_to_the_first_ones(work):
    given, ran = work
    given = replace(given, options=replace(given.options, fine_share=1.0, equalize=True))
    corrected(given, None)
    once = ["choose-ladders", "quantize-weights", "equalize", "quantize-weights", "correct-bias"]
    assert ran == once * 2


def test_sites_that_the_user_chose_are_not_decided(work):
    given, _ = work
    sites = {"r": SiteOptions(weight_bits=8), "t": SiteOptions(levels=7)}
    given = replace(given, options=replace(given.options, fine_share=1.0, sites=sites))
    _, (_, row) = corrected(given, Gauge(given.origin, given.runner, given.x))
    assert row == {"correction": "more-levels", "kept": "before", "reason": "no site may have them", "sites": []}
    assert _correction_line(row) == "no site has more levels: no site may have them"


def halved(work, draft):
    """A correction that makes all biases of a draft half as large, and knows it."""
    nodes = [replace(n, op=replace(n.op, bias=n.op.bias / 2)) if isinstance(n.op, Layer) else n
             for n in draft.graph.nodes]  # fmt: skip
    kept = draft.graph.invariants - {"bias-corrected"}
    return replace(draft, graph=replace(draft.graph, nodes=tuple(nodes), invariants=kept))


def test_one_more_correction_is_a_line_of_the_table(tmp_path, monkeypatch):
    """No other line knows of it: the report has its row, the terminal its words."""
    one = Correction("halve", "biases halved", "", lambda work, draft: work.options.levels == 31, halved,
                     lambda work, before, after: {"sites": [n.name for n in after.graph.nodes][:1]})  # fmt: skip
    monkeypatch.setattr(corrections, "CORRECTIONS", (*CORRECTIONS, one))
    said = succeeds(DIGITS, "--calib", CALIB, "-o", tmp_path / "out").output
    row = document(tmp_path / "out" / "report.json")["corrections"][-1]
    assert (row["correction"], len(row["sites"])) == ("halve", 1)
    assert row["outputs_db_after"] < row["outputs_db_before"]
    assert f"biases halved ({row['sites'][0]}): outputs from" in " ".join(said.split())


def test_the_first_draft_has_levels_and_integers_and_no_decision(work):
    draft = first_draft(work[0])
    assert draft.decisions.sites == {}
    assert not isinstance(draft.chosen.nodes[0].op, IntegerSite)
    assert np.issubdtype(draft.graph.nodes[0].op.integer.maps[0].weight.dtype, np.integer)
