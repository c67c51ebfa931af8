"""Moves between maps are convolutions on the coarse grid wherever every phase reads in equal steps."""

from __future__ import annotations

import numpy as np
import pytest
from sfn_backends.nir import NirBackend, chain
from sfn_backends.nir.compact import compact
from sfn_backends.nir.parts import parts_of
from sfn_backends.nir.phases import phased

from sfn_compile.files import program_files
from sfn_compile.program.network import Concat, Conv, Gather, Pad, Program, Projection, Reshape, Slice, Take, Transpose
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import Builder, edge_inputs

SHAPE = (4, 6, 4)
EVERY = np.arange(96).reshape(SHAPE)
TWICE = EVERY.repeat(2, axis=1).repeat(2, axis=2)
SHUFFLED = EVERY.reshape(1, 2, 2, 6, 4).transpose(0, 3, 1, 4, 2).reshape(1, 12, 8)
SHIFTED = np.pad(EVERY, ((0, 0), (1, 0), (0, 2)), constant_values=-1)[:, :6, 2:]

# what it is -> (index, elements per block, step of blocks)
MOVES = {
    "a pixel shuffle": (SHUFFLED, (2, 2), (1, 1)),
    "nearest upsampling": (TWICE, (2, 2), (1, 1)),
    "nearest upsampling, cropped at both ends": (TWICE[:, 1:11, 3:7], (2, 2), (1, 1)),
    "upsampling by one and a half": (EVERY.take([0, 0, 1, 2, 2, 3, 4, 4, 5], axis=1), (3, 1), (2, 1)),
    "every second row": (EVERY[:, 1::2], (1, 1), (2, 1)),
    "channels in another order, one of zeros": (
        np.where(np.arange(4).reshape(4, 1, 1) == 2, -1, EVERY[::-1]), (1, 1), (1, 1)),
    "a shift that reads padding": (SHIFTED, (1, 1), (1, 1)),
    "blocks that become channels": (
        EVERY.reshape(4, 3, 2, 2, 2).transpose(2, 4, 0, 1, 3).reshape(16, 3, 2), (1, 1), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MOVES))
def test_the_taps_of_a_move_read_what_its_index_says(name):
    index, up, stride = MOVES[name]
    weight = np.arange(1, index.shape[0] + 1).reshape(-1, 1, 1)
    found = phased(Gather(index, weight), SHAPE)
    assert found is not None
    assert (found.up, found.stride) == (up, stride)
    source = np.random.default_rng(0).integers(1, 9, SHAPE)
    got = np.zeros(index.shape, np.int64)
    for y, x in np.ndindex(index.shape[1:]):
        block = y // up[0] * stride[0], x // up[1] * stride[1]
        for tap, oy, ox in found.at(y % up[0], x % up[1]):
            at = block[0] + oy, block[1] + ox
            if 0 <= at[0] < SHAPE[1] and 0 <= at[1] < SHAPE[2]:
                got[tap.o, y, x] += source[tap.c, at[0], at[1]] * weight.reshape(-1)[tap.index]
    assert np.array_equal(got, np.where(index >= 0, source.reshape(-1)[index], 0) * weight)


@pytest.mark.parametrize(
    ("index", "weight"),
    [
        (EVERY[:, ::-1], np.ones((1, 1, 1))),  # rows backwards
        (EVERY.take([1, 0, 1, 2, 3, 4, 5, 4], axis=1), np.ones((1, 1, 1))),  # a reflected border
        (np.where(EVERY == 40, -1, EVERY), np.ones((1, 1, 1))),  # a hole
        (EVERY, np.ones((4, 6, 1))),  # another weight for every row
        (EVERY.reshape(-1), np.ones(1)),  # a vector
    ],
)
def test_a_move_without_such_a_pattern_has_no_taps(index, weight):
    assert phased(Gather(index, weight), SHAPE) is None


def u_net() -> Program:
    b = Builder((3, 8, 8), hi=7)
    b.fire("down", Projection("x", Conv(b.weights(4, 3, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1))), hi=5)
    b.fire("up", Projection("down", Conv(b.weights(8, 4, 2, 2), (1, 1), ((1, 0), (0, 1)), (1, 1))), hi=5)
    b.move("turn", Transpose((0, 3, 1, 4, 2)), b.move("apart", Reshape((2, 2, 2, 4, 4)), "up"))
    b.move("join", Concat(0), b.move("shuffle", Reshape((2, 8, 8)), "turn"), "x")
    b.fire("c", Projection("join", Conv(b.weights(3, 5, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))), hi=5)
    twice = tuple(i // 2 for i in range(16))
    b.move("near", Take(2, twice), b.move("rows", Take(1, twice), "c"))
    b.move("edge", Pad(((0, 0), (2, 0), (0, 2))), b.move("cut", Slice(((0, 3, 1), (0, 14, 1), (2, 16, 1))), "near"))
    return b.build(b.fire("y", Projection("edge", Conv(b.weights(2, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))), hi=5))


@pytest.mark.parametrize(("largest", "dense"), [(2**24, 1), (0, 0)])
def test_a_u_net_stays_on_maps_and_computes_the_simulators_integers(largest, dense, tmp_path, monkeypatch):
    """At most the result is put in order by a dense matrix; a large one is left in phases."""
    monkeypatch.setattr(chain, "LARGEST_UNFOLDING", largest)
    backend = NirBackend()
    program = legalize(u_net(), "nir", backend.capabilities)
    assert [n.kind for n in chain.build(compact(program), parts_of(program)[0]).nodes.values()].count("Affine") == dense
    backend.emit(program, tmp_path, {})
    assert program_files.digest(backend.reload(tmp_path)) == program_files.digest(program)
    inputs = edge_inputs(program)
    golden = run_codes(program, inputs, engine="reference")
    result = backend.run(tmp_path, RunRequest(inputs, golden))
    assert all(np.array_equal(result.values[p.name], golden[p.name]) for p in program.populations())
