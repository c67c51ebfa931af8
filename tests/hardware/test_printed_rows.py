"""Words, totals and cores that Intel's compiler has printed come out of the formulas; what does not is marked."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.hardware.memory import Readers, asked, kernel_words
from sfn_compile.hardware.tilings import tiling_of, vendor_tile

from .hardware_cases import CHIPS, layer, parts, rows

ROWS = rows("loihi2_rows.csv")
WIDTHS = range(1, 9)


def named(chosen: list[dict[str, str]], *odd: tuple[str, str], why: str = "") -> list:
    """The rows as parameters; ``odd`` ones, by network and layer, are known to come out otherwise."""
    mark = pytest.mark.xfail(strict=True, reason=why)
    return [
        pytest.param(r, id=f"{r['net']}-{r['layer']}", marks=(mark,) if (r["net"], r["layer"]) in odd else ())
        for r in chosen
    ]


def words(row: dict[str, str], bits: int) -> float:
    """The synapse words of a core by the formula: of the printed tile, or the mean over the layer's cores."""
    memory, made = CHIPS[row["compiler"]].memory, layer(row, bits)
    if row["kind"] == "conv":
        return kernel_words(memory, made, int(row["tile"].split("x")[2]))
    return float(np.mean([kernel_words(memory, made, n) for n in parts(row)]))


KNOWN = [r for r in ROWS if r["kind"] != "input" and r["weight_bits"]]
UNKNOWN = [r for r in ROWS if r["kind"] == "conv" and not r["weight_bits"]]
TOTALS = [r for r in ROWS if r["total_pct"]]
CORES = [r for r in ROWS if "violation" not in r["layer"]]


def test_the_table_is_whole():
    assert [len(x) for x in (ROWS, KNOWN, UNKNOWN, TOTALS, CORES)] == [40, 29, 10, 13, 34]


@pytest.mark.parametrize("row", named(KNOWN, ("oxford", "fc2"), why="8192 against 8064: +1.6 %"))
def test_synapse_words_of_rows_with_known_weights(row):
    assert int(words(row, int(row["weight_bits"]))) == int(row["synapse_words_core"])


def test_the_row_that_is_missed_is_missed_by_less_than_two_percent():
    row = next(r for r in KNOWN if (r["net"], r["layer"]) == ("oxford", "fc2"))
    assert words(row, 7) / int(row["synapse_words_core"]) == pytest.approx(1.016, abs=0.001)


@pytest.mark.parametrize("row", named(UNKNOWN))
def test_some_width_gives_the_words_of_rows_whose_weights_are_not_public(row):
    assert int(row["synapse_words_core"]) in [words(row, b) for b in WIDTHS]


@pytest.mark.parametrize("row", named(TOTALS))
def test_the_whole_core_adds_up_to_the_printed_percentage(row):
    printed = ("axon_in", "neurongroups", "neurons_core", "axonmap", "axonmem", "synapse_words_core")
    total = sum(int(row[name]) for name in printed)
    capacity = CHIPS["new"].memory.total_words.value
    assert 100 * total / capacity == pytest.approx(float(row["total_pct"]), abs=0.0051)


@pytest.mark.parametrize("row", named(CORES, ("oxford", "fc1"), why="2 against 3 printed"))
def test_cores_of_a_layer_as_the_vendor_splits(row):
    memory = CHIPS[row["compiler"]].memory
    bits = int(row["weight_bits"]) if row["weight_bits"] else next(
        (b for b in WIDTHS if row["kind"] == "conv" and words(row, b) == int(row["synapse_words_core"])), 1
    )  # fmt: skip
    made = layer(row, bits)
    tile = vendor_tile(memory, made, Readers(), 1)
    assert tile is not None
    assert tiling_of(memory, made, tile, Readers(), 1).cores == int(row["cores"])


@pytest.mark.parametrize("row", named([r for r in ROWS if r["kind"] == "conv" and r["axonmem"] != "0"]))
def test_axons_of_a_printed_tile_are_no_more_than_is_set_aside(row):
    """The blocks of channels of the next layer are read off the next row."""
    following = ROWS[ROWS.index(row) + 1]
    blocks = -(-int(following["out_c"]) // int(following["tile"].split("x")[2])) if following["tile"] else 1
    w, h, c = map(int, row["tile"].split("x"))
    use = asked(CHIPS["new"].memory, layer(row, 4), (c, h, w), Readers((blocks,)), 1).use
    assert int(row["axonmem"]) <= int(use["axon_memory"])
