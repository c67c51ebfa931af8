"""Moves and affine steps around attention: composed, cancelled, folded into every reader."""

from __future__ import annotations

import numpy as np

from sfn_compile.graph.ops import Moved
from sfn_compile.passes.structure.compose_moves import ComposeMoves
from sfn_compile.passes.structure.fold_affine import FoldAffine, foldable
from sfn_compile.program.network import Reshape, Transpose

from ...frontend.tiny_onnx import imported, ints, noise, samples, tiny
from .test_place_sites import NORM, PROJECTED


def test_a_chain_of_transposes_is_the_one_that_does_all(tmp_path):
    body = (
        "a = Transpose<perm=[0,2,3,1]>(x) d = Transpose<perm=[0,3,1,2]>(a) e = Transpose<perm=[0,2,1,3]>(d) "
        "f = Transpose<perm=[0,3,2,1]>(e) r = Relu(f) y = Flatten(r)"
    )
    original = imported(tiny(body, (2, 3, 5)), tmp_path)
    graph = ComposeMoves().run(original).graph
    moves = [n.op.op for n in graph.nodes if isinstance(n.op, Moved)]
    assert [m for m in moves if isinstance(m, Transpose)] == [Transpose((2, 0, 1))]
    x = samples(original, 2)
    assert np.array_equal(original.evaluate({"x": x})["y"], graph.evaluate({"x": x})["y"])


def test_moves_that_cancel_leave_nothing_but_their_source(tmp_path):
    body = (
        "a = Reshape(x, s) d = Transpose<perm=[0,2,1]>(a) e = Transpose<perm=[0,2,1]>(d) f = Reshape(e, t) "
        "y = MatMul(f, k)"
    )
    graph = (
        ComposeMoves()
        .run(imported(tiny(body, (4, 6), s=ints(0, 2, 12), t=ints(0, 4, 6), k=noise(6, 2)), tmp_path))
        .graph
    )
    assert not any(isinstance(n.op, Moved) for n in graph.nodes)
    assert graph.nodes[0].inputs == ("x",)


def test_a_move_that_somebody_else_reads_stays(tmp_path):
    body = "a = Reshape(x, s) d = Reshape(a, t) y = MatMul(d, k) z = MatMul(a, l)"
    given = {"s": ints(0, 2, 12), "t": ints(0, 4, 6), "k": noise(6, 2), "l": noise(12, 2), "outputs": ("y", "z")}
    graph = ComposeMoves().run(imported(tiny(body, (4, 6), **given), tmp_path)).graph
    assert [n.op.op for n in graph.nodes if isinstance(n.op, Moved)] == [Reshape((2, 12))]


def test_an_affine_step_goes_into_all_of_its_readers(tmp_path):
    """The scale and bias of a norm before queries, keys and values."""
    body = (
        "r = Relu(x) m = Mul(r, g) b = Add(m, h) q = MatMul(b, wq) k = MatMul(b, wk) v = MatMul(b, wv) y = Add(q, k) "
    )
    given = {"x": (4, 6), **PROJECTED, **NORM, "h": noise(6, seed=4), "outputs": ("y", "v")}
    original = imported(tiny(body, **given), tmp_path)
    graph = FoldAffine().run(original).graph
    assert not foldable(graph)
    assert "m" not in graph.by_name()
    assert "b" not in graph.by_name()
    assert {n.inputs for n in graph.nodes if n.name in "qkv"} == {("r",)}
    x = samples(original, 3)
    for name in ("y", "v"):
        want, got = original.evaluate({"x": x})[name], graph.evaluate({"x": x})[name]
        assert np.abs(want - got).max() <= 2.0**-40 * np.abs(want).max()


def test_an_affine_step_with_one_reader_that_cannot_take_it_stays_whole(tmp_path):
    body = "r = Relu(x) b = Add(r, h) q = MatMul(b, wq) t = Tanh(b) y = Add(q, t)"
    original = imported(tiny(body, x=(4, 6), **PROJECTED, h=noise(6, seed=4)), tmp_path)
    graph = FoldAffine().run(original).graph
    assert "b" in graph.by_name()


def test_an_affine_step_stays_behind_moves_that_lead_to_nothing_linear(tmp_path):
    """In front of them it would meet an activation, and stand in its own readers' way."""
    body = "r = Relu(x) t = Transpose<perm=[0,2,1]>(r) b = Mul(t, k4) q = Relu(b) y = MatMul(q, w)"
    original = imported(tiny(body, x=(4, 6), k4=noise(4), w=noise(4, 2)), tmp_path)
    graph = FoldAffine().run(original).graph
    assert [n.name for n in graph.nodes if n.inputs == ("r",)] == ["t"]
