"""Thousands of damaged files through `check`: whatever happens to a model, what comes out is a diagnostic.

The long campaign, which compiles what passes, is `tests/fuzz/campaign.py`.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfn_compile.commands.check import check
from sfn_compile.foundation.diagnostics import CompileError

from .mutate import SEEDS, damaged, damaged_bytes

NET = "do not fit together ("  # the net under the importers: a case that ends in it deserves a rule of its own


def outcome(data: bytes, folder) -> tuple[int, list[str]]:
    """Exit status and messages of `sfnc check`."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    try:
        found = check(path)
    except CompileError as error:
        return error.exit_code, [str(d) for d in error.diagnostics]
    return found.exit_code, [str(d) for d in found.problems]


@pytest.mark.parametrize("name", list(SEEDS))
def test_the_models_to_be_damaged_are_looked_at_without_a_crash(name, tmp_path):
    status, messages = outcome(SEEDS[name]().SerializeToString(), tmp_path)
    assert status == (3 if messages else 0)


@settings(max_examples=800, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(name=st.sampled_from(sorted(SEEDS)), rng=st.randoms(use_true_random=False), times=st.integers(1, 4))
def test_models_with_damaged_fields_end_in_a_diagnostic(name, rng, times, tmp_path):
    status, messages = outcome(damaged(SEEDS[name](), rng, times).SerializeToString(), tmp_path)
    assert status == (3 if messages else 0)
    assert not [m for m in messages if NET in m]


@pytest.mark.parametrize("seed", range(8))
def test_files_with_damaged_bytes_end_in_a_diagnostic(seed, tmp_path):
    rng = random.Random(seed)
    whole = {name: make().SerializeToString() for name, make in SEEDS.items()}
    for _ in range(150):
        status, messages = outcome(damaged_bytes(whole[rng.choice(sorted(whole))], rng), tmp_path)
        assert status == (3 if messages else 0)
        assert not [m for m in messages if NET in m]
