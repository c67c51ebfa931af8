"""Values of many samples in bounded memory: what goes in comes out, from memory or from a file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.files.bounded_store import Held
from sfn_compile.foundation.diagnostics import CompileError


def pieces(held, name):
    return [held.piece(name, i) for i in range(-(-held.count(name) // held.size))]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 7), st.sampled_from([0, 200, 10**6]),
    st.sampled_from([np.uint8, np.int64, np.float32]), st.sampled_from([(), (3,), (2, 3, 4)]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_samples_of_any_portions_come_back_in_pieces_of_one_size(portions, size, room, dtype, shape):
    rng, held = np.random.default_rng(sum(portions)), Held(size, room)
    parts = [rng.integers(0, 200, (n, *shape)).astype(dtype) for n in portions]
    for part in parts:
        held.add("x", part)
        held.add("y", 2.0 * part)
    whole, found = np.concatenate(parts), pieces(held, "x")
    assert held.count("x") == len(whole)
    assert [len(p) for p in found[:-1]] == [size] * (len(found) - 1)
    assert np.array_equal(np.concatenate(found), whole)
    assert found[0].dtype == dtype
    assert np.array_equal(np.concatenate(pieces(held, "y")), 2.0 * whole)


def test_no_more_than_the_room_stays_in_memory():
    held = Held(4, room=1000)
    for name in "abc":
        held.add(name, np.zeros((12, 10), np.float32))
    assert 800 <= held.used <= 1000
    assert held._end == 9 * 160 - held.used


def test_what_was_dropped_makes_room_in_memory_and_in_the_file():
    held = Held(2, room=160)
    for _ in range(5):
        held.add("x", np.ones((8, 10), np.float64))
        held.drop("x")
        assert "x" not in held
    assert held.used == 0
    assert held._end == 8 * 10 * 8 - 160


def test_a_piece_does_not_keep_alive_what_it_is_a_part_of():
    held = Held(1)
    held.add("x", np.zeros((1, 4, 1000))[:, :1])
    assert held.piece("x", 0).base is None or held.piece("x", 0).base.size == 1000


def test_threads_read_a_file_at_the_same_time():
    held = Held(1, room=0)
    held.add("x", np.arange(400.0)[:, None] * np.ones(500))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: held.piece("x", i), range(400)))
    assert [p.min() for p in found] == [p.max() for p in found] == list(range(400))


def test_a_full_disk_is_reported(monkeypatch):
    held = Held(1, room=0)
    held.add("x", np.zeros((1, 4)))
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(held, "_file", full)
        with pytest.raises(CompileError, match="No space left"):
            held.add("x", np.zeros((1, 4)))
