"""What the compiler decides is not what the user asked for: passes read both, and the user comes first."""

from __future__ import annotations

import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.foundation.options import Options, SiteOptions
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.decisions import MORE_LEVELS, NO_DECISIONS, TWO_DIGITS, Decision, Decisions
from sfn_compile.passes.pipeline import run_passes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import EvaluatedRunner, structured

MORE, DIGITS = Decisions({"r": Decision(31)}), Decisions({"r": Decision(63, radix=8)})
ASKED = {"r": SiteOptions(levels=5)}
BITS = {"r": SiteOptions(weight_bits=4)}


@pytest.mark.parametrize(("sites", "decisions", "want"), [
    ({}, NO_DECISIONS, (7, "")),
    (ASKED, NO_DECISIONS, (5, "asked for by --site")),
    (BITS, NO_DECISIONS, (7, "")),
    ({}, MORE, (31, MORE_LEVELS)),
    ({}, DIGITS, (63, TWO_DIGITS)),
    ({}, Decisions({"r": Decision(7)}), (7, "")),  # as many as asked for need no reason
])  # fmt: skip
def test_levels_and_their_reason_are_the_users_or_the_compilers(sites, decisions, want, tmp_path):
    original = imported(tiny("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", w=noise(4, 3, 3, 3), u=noise(4, 4, 3, 3)),
                        tmp_path)  # fmt: skip
    graph, x = structured(original), {"x": samples(original, 16)}
    statistics = collect(graph, EvaluatedRunner(graph), x)
    chosen = run_passes(graph, (ChooseLadders(statistics, Options(levels=7, sites=sites), decisions),))
    levels = chosen.by_name()["r"].op.levels
    assert (levels.hi, levels.reason) == want


def test_a_radix_means_two_digits_and_a_clip_that_ends_at_its_bound():
    assert (MORE.radices, DIGITS.radices) == ({}, {"r": 8})
    assert (MORE.is_bounded("r"), DIGITS.is_bounded("r"), DIGITS.is_bounded("q")) == (False, True, False)


def test_what_the_user_asks_for_has_no_room_for_the_compilers_words():
    assert set(SiteOptions.__dataclass_fields__) == {"levels", "weight_bits", "method", "stretch"}
