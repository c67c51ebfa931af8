"""The error of a layer in the report, summed in float32, is that of float64."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.foundation.decibel import BLOCK, squares
from sfn_compile.graph.graph import Levels
from sfn_compile.report.activity import Error


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 50 * BLOCK + 3])
def test_squares_of_many_numbers_are_added_without_losing_small_ones(n):
    x = (np.random.default_rng(n).standard_normal(n) + 3).astype(np.float32)
    assert squares(x) == pytest.approx((x.astype(np.float64) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("book", [None, (0, 1, 2, 3, 5, 8, 13, 31)])
def test_the_noise_of_a_layer_in_float32_is_that_in_float64(book):
    rng = np.random.default_rng(0)
    step = rng.uniform(0.1, 0.3, (8, 1, 1))
    levels = Levels(step, 0, 31, np.zeros((8, 1, 1), bool), "", book=book)
    real = np.maximum(rng.standard_normal((20, 8, 40, 40)) * 2, 0)
    codes, found = np.clip(levels.quantize(real) + rng.integers(-1, 2, real.shape), 0, 31), Error()
    for some in range(0, 20, 5):
        found.add(real[some : some + 5].astype(np.float32), codes[some : some + 5], step, levels)
    here, accumulated = (((c * step - real) ** 2).sum() for c in (levels.quantize(real), codes))
    signal, row = ((real - real.mean(axis=0)) ** 2).sum(), found.row()
    assert row["sqnr_db"] == pytest.approx(10 * np.log10(signal / here), abs=0.001)
    assert row["sqnr_accumulated_db"] == pytest.approx(10 * np.log10(signal / accumulated), abs=0.001)
