"""Tables fit the terminal by leaving out whole columns, the least important first; what is shown is never cut."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console as RichConsole

from sfn_compile.cli.fitted_table import Column, fitted, shown
from sfn_compile.cli.terminal import LAYER_COLUMNS, _layer_table

COLUMNS = (Column("name"), Column("least", 2), Column("less", 1), Column("most"))
ROWS = [["a" * 10, "b" * 10, "c" * 10, "d" * 10]] * 3


def drawn(table, width: int) -> str:
    out = StringIO()
    RichConsole(file=out, width=width, highlight=False).print(table)
    return out.getvalue()


@pytest.mark.parametrize(("width", "kept"), [(80, [0, 1, 2, 3]), (53, [0, 1, 2, 3]), (52, [0, 2, 3]), (39, [0, 3]),
                                             (10, [0, 3])])  # fmt: skip
def test_the_least_important_column_goes_first(width, kept):
    assert shown(COLUMNS, ROWS, width) == kept


def test_a_table_is_as_wide_as_it_is_allowed_to_be():
    for width in (53, 52, 40):
        assert max(map(len, drawn(fitted(COLUMNS, ROWS, width), width).splitlines())) <= width
        assert "…" not in drawn(fitted(COLUMNS, ROWS, width), width)


@pytest.mark.parametrize("width", [60, 80, 118, 200])
def test_the_second_signal_to_noise_of_every_layer_is_always_there(made, width):
    report = json.loads((made / "report.json").read_text())
    text = drawn(_layer_table(report["layers"], report["outputs"], width), width)
    assert max(map(len, text.splitlines())) <= width
    for row in report["layers"]:
        if row["sqnr_accumulated_db"] is not None and row["sqnr_accumulated_db"] < 120:
            assert f"/ {row['sqnr_accumulated_db']:.1f} dB" in text
    assert not LAYER_COLUMNS[-1].rank
