"""Products of several axes at once: Einsum of one or two operands, and the Attention operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...graph.graph import Op
from ...graph.ops import Linear, MatMul, Moved, Mul, Softmax
from ...program.network import Dense, Reshape, Shape, Transpose
from ..batch_layout import WHOLE, Layout
from ..context import Array
from ..onnx_node import OnnxNode
from .linear import grouped
from .picks import expanded

# -- Einsum --------------------------------------------------------------------------------------------------------
_Sides = tuple[str, Shape]  # the letter of every axis of one sample, and its length


@dataclass(frozen=True)
class _Term:
    """An operand: the letter of every axis of one sample, and the graph value or the constant."""

    letters: str
    value: str = ""
    array: Array | None = None


def einsum(node: OnnxNode) -> None:
    """Of one or two operands, each letter once in each: matrix products, also batched, and products with a constant."""
    terms, out = _letters(node)
    computed = [i for i in range(len(terms)) if node.constant(i) is None]
    if all(node.layout_of(i).whole for i in computed):
        return _einsum_of(node, terms, out, computed, WHOLE)
    batch = {terms[i][node.layout_of(i).axis] for i in computed}
    if any(node.layout_of(i).merged for i in computed) or len(batch) != 1:
        raise node.refuse("its operands have the batch merged, or on axes of different letters", code="SFN203")
    (letter,) = batch
    if letter not in out or any(letter in terms[i] for i in range(len(terms)) if i not in computed):
        what = f"its equation sums over the batch, {letter!r}, or has a constant along it"
        raise node.refuse(what, "keep axis 0 for the samples", "SFN203")
    own = [t.replace(letter, "") if i in computed else t for i, t in enumerate(terms)]
    return _einsum_of(node, own, out.replace(letter, ""), computed, Layout(out.index(letter)))


def _einsum_of(node: OnnxNode, terms: list[str], wanted: str, computed: list[int], layout: Layout) -> None:
    """Let the node's output be the products and sums of samples with the axes ``terms``."""
    parts = [
        _summed(node, _Term(t, node.value(i)), _others(terms, i) + wanted) if i in computed
        else _summed_constant(_Term(t, array=np.asarray(node.constant(i), np.float64)), _others(terms, i) + wanted)
        for i, t in enumerate(terms)
    ]  # fmt: skip
    if len(parts) == 1:
        perm = tuple(parts[0].letters.index(c) for c in wanted)
        return node.result(Moved(Transpose(perm)), parts[0].value, layout=layout)
    if len(computed) == 2:
        return _of_two(node, parts[0], parts[1], wanted, layout)
    return _with_constant(node, parts[computed[0]], parts[1 - computed[0]], wanted, layout)


def _letters(node: OnnxNode) -> tuple[list[str], str]:
    equation = str(node.attr("equation", "")).replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        joined = "".join(terms)
        out = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if not 1 <= len(terms) <= 2 or len(terms) != len(node.node.inputs):
        raise node.refuse(f"equation {equation!r} has {len(terms)} operands", "write it as products of two")
    if any(len(set(t)) != len(t) or not (t.isalpha() or not t) for t in [*terms, out]):
        what = f"equation {equation!r} takes a diagonal, or leaves axes unnamed"
        raise node.refuse(what, "name every axis by a letter, once in each operand")
    for i, term in enumerate(terms):
        constant = node.constant(i)
        rank = node.rank(i) if constant is None else constant.ndim
        if rank != len(term):
            raise node.refuse(f"equation {equation!r} does not fit operand {i} of rank {rank}")
    return terms, out


def _others(terms: list[str], i: int) -> str:
    return "".join(t for j, t in enumerate(terms) if j != i)


def _summed(node: OnnxNode, term: _Term, kept: str) -> _Term:
    """Return the operand summed over letters that nothing else has."""
    shape = node.context.types[term.value].shape
    gone = [a for a, c in enumerate(term.letters) if c not in kept]
    if not gone:
        return term
    stay = [a for a in range(len(shape)) if a not in gone]
    turned = node.transpose(term.value, (*stay, *gone))
    left, n = tuple(shape[a] for a in stay), math.prod(shape[a] for a in gone)
    rows = node.emit(Moved(Reshape((*left, n))), turned)
    total = node.emit(Linear(Dense(np.ones((1, n))), np.zeros(1)), rows)
    return _Term("".join(term.letters[a] for a in stay), node.emit(Moved(Reshape(left)), total))


def _summed_constant(term: _Term, kept: str) -> _Term:
    assert term.array is not None
    gone = tuple(a for a, c in enumerate(term.letters) if c not in kept)
    return _Term("".join(c for c in term.letters if c in kept), array=term.array.sum(axis=gone))


def _ordered(node: OnnxNode, op: Op, inputs: Sequence[str], sides: _Sides, wanted: str, layout: Layout) -> None:
    """Let the node's output be what ``op`` computes, as axes of the letters ``sides``, in the order of ``wanted``."""
    letters, shape = sides
    steps: list[Op] = [op]
    if op.infer(*(node.context.types[v].shape for v in inputs)) != shape:
        steps.append(Moved(Reshape(shape)))
    if letters != wanted:
        steps.append(Moved(Transpose(tuple(letters.index(c) for c in wanted))))
    for step in steps[:-1]:
        inputs = (node.emit(step, *inputs),)
    node.result(steps[-1], *inputs, layout=layout)


def _arranged(node: OnnxNode, term: _Term, groups: tuple[str, ...]) -> str:
    """Return the value with the letters of each group as one axis behind the letters of the first, which stay apart."""
    turned = node.transpose(term.value, [term.letters.index(c) for c in "".join(groups)])
    sizes = dict(zip(term.letters, node.context.types[term.value].shape, strict=True))
    shape = (*(sizes[c] for c in groups[0]), *(math.prod(sizes[c] for c in g) for g in groups[1:]))
    return turned if shape == node.context.types[turned].shape else node.emit(Moved(Reshape(shape)), turned)


def _sizes(node: OnnxNode, *terms: _Term) -> dict[str, int]:
    found: dict[str, int] = {}
    for term in terms:
        shape = node.context.types[term.value].shape if term.array is None else term.array.shape
        for letter, length in zip(term.letters, shape, strict=True):
            if found.setdefault(letter, length) != length:
                raise node.refuse(f"axis {letter!r} has lengths {found[letter]} and {length}")
    return found


def _sides(sizes: dict[str, int], letters: str) -> _Sides:
    return letters, tuple(sizes[c] for c in letters)


def _of_two(node: OnnxNode, a: _Term, b: _Term, wanted: str, layout: Layout) -> None:
    """Let the output be a (batched) matrix product of two values: letters that both have and the result keeps lead."""
    sizes = _sizes(node, a, b)
    lead = "".join(c for c in wanted if c in a.letters and c in b.letters)
    over = "".join(c for c in a.letters if c in b.letters and c not in wanted)
    rows = "".join(c for c in a.letters if c not in b.letters)
    columns = "".join(c for c in b.letters if c not in a.letters)
    if not over and not rows + columns:
        return node.result(Mul(), *(_arranged(node, t, (wanted,)) for t in (a, b)), layout=layout)
    factors = _arranged(node, a, (lead, rows, over)), _arranged(node, b, (lead, over, columns))
    return _ordered(node, MatMul(), factors, _sides(sizes, lead + rows + columns), wanted, layout)


def _with_constant(node: OnnxNode, x: _Term, c: _Term, wanted: str, layout: Layout) -> None:
    """Let the output be a value times a constant: one matrix for every row of it."""
    assert c.array is not None
    sizes = _sizes(node, x, c)
    if any(letter in x.letters and letter in wanted for letter in c.letters):
        return _with_matrices(node, x, c, wanted, layout)
    over = "".join(letter for letter in c.letters if letter in x.letters)
    rows = "".join(letter for letter in x.letters if letter not in over)
    columns = "".join(letter for letter in c.letters if letter not in over)
    matrix = c.array.transpose([c.letters.index(letter) for letter in columns + over])
    matrix = matrix.reshape(math.prod(sizes[i] for i in columns), -1)
    product, read = Linear(Dense(matrix), np.zeros(len(matrix))), (_arranged(node, x, (rows, over)),)
    return _ordered(node, product, read, _sides(sizes, rows + columns), wanted, layout)


def _with_matrices(node: OnnxNode, x: _Term, c: _Term, wanted: str, layout: Layout) -> None:
    """The same with a constant of its own for each place along a letter that both have and the result keeps."""
    assert c.array is not None
    if any(letter not in x.letters or letter not in wanted for letter in c.letters):
        return _with_heads(node, x, c, wanted, layout)
    order = [c.letters.index(letter) for letter in x.letters if letter in c.letters]
    lengths = [c.array.shape[c.letters.index(i)] if i in c.letters else 1 for i in x.letters]
    scale = c.array.transpose(order).reshape(lengths)
    scaled = node.affine(x.value, scale, np.zeros(()))
    return _ordered(node, scaled, (x.value,), _sides(_sizes(node, x), x.letters), wanted, layout)


def _with_heads(node: OnnxNode, x: _Term, c: _Term, wanted: str, layout: Layout) -> None:
    """The same with a matrix of its own for each place along such a letter."""
    assert c.array is not None
    sizes = _sizes(node, x, c)
    lead = "".join(i for i in c.letters if i in x.letters and i in wanted)
    over = "".join(i for i in c.letters if i in x.letters and i not in wanted)
    rows = "".join(i for i in x.letters if i not in c.letters)
    columns = "".join(i for i in c.letters if i not in x.letters)
    ordered = c.array.transpose([c.letters.index(i) for i in lead + columns + over])
    n_out, n_in, n_rows = (math.prod(sizes[i] for i in letters) for letters in (columns, over, rows))
    matrices = ordered.reshape(*(sizes[i] for i in lead), n_out, n_in)
    shape = (*(sizes[i] for i in lead), n_in, n_rows)
    turned = node.emit(Moved(Reshape(shape)), node.transpose(x.value, [x.letters.index(i) for i in lead + over + rows]))
    apart = Moved(Reshape(_sides(sizes, lead + columns + rows)[1]))
    _ordered(node, apart, (grouped(node, turned, matrices),), _sides(sizes, lead + columns + rows), wanted, layout)


# -- Attention -------------------------------------------------------------------------------------------------------
def attention(node: OnnxNode) -> None:
    """Of queries, keys and values; constant mask, causal, grouped heads; no cache of past keys."""
    _check_attention(node)
    q, k, v = (_heads(node, i) for i in range(3))
    shapes = [node.context.types[x].shape for x in (q, k, v)]
    (heads, n, width), (groups, m, _), (_, _, _) = shapes
    if heads % groups or shapes[2][:2] != (groups, m) or shapes[1][2] != width:
        raise node.refuse(f"queries, keys and values of one sample have shapes {shapes}, which do not fit")
    scale = float(node.attr("scale", 0.0)) or width**-0.5
    scaled = node.emit(node.affine(q, np.asarray(scale), np.zeros(())), q)
    k, v = (_repeated(node, x, heads) for x in (k, v))
    scores = node.emit(MatMul(), scaled, node.transpose(k, (0, 2, 1)))
    mask = _mask(node, (heads, n, m))
    if mask is not None:
        scores = node.emit(node.affine(scores, np.ones(()), mask), scores)
    mixed = (node.emit(Softmax((2,)), scores), v)
    if len(node.shape(0)) == 3:
        return node.result(MatMul(), *mixed)
    joined = node.transpose(node.emit(MatMul(), *mixed), (1, 0, 2))
    return node.move(Reshape((n, heads * shapes[2][2])), joined)


_KNOWN = {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision"}


def _check_attention(node: OnnxNode) -> None:
    if node.has_input(4) or node.has_input(5):
        raise node.refuse("it keeps keys and values of the past", "export the model without a cache")
    if node.has_input(6):
        raise node.refuse("it is told at run time how many keys there are", "export it with sequences of full length")
    other = sorted(set(node.node.attributes) - _KNOWN)
    if other:
        raise node.refuse(f"its attribute {other[0]} is not known", "give the mask that it stands for as a constant")
    if float(node.attr("softcap", 0.0)) != 0.0:
        raise node.refuse(f"softcap = {node.attr('softcap')}", "train without a cap on the scores")
    ranks = {len(node.shape(i)) for i in range(3)}
    if len(ranks) != 1 or not ranks <= {2, 3}:
        raise node.refuse("its queries, keys and values are not all of rank 3, or all of rank 4")


def _heads(node: OnnxNode, i: int) -> str:
    """Return input ``i`` as ``(heads, tokens, width)``."""
    shape = node.shape(i)
    if len(shape) == 3:
        return node.value(i)
    heads = int(node.attr("kv_num_heads" if i else "q_num_heads", 0))
    if heads < 1 or shape[1] % heads:
        raise node.refuse(f"{heads} heads do not divide a width of {shape[1]}")
    apart = node.emit(Moved(Reshape((shape[0], heads, shape[1] // heads))), node.value(i))
    return node.transpose(apart, (1, 0, 2))


def _repeated(node: OnnxNode, value: str, heads: int) -> str:
    """Return keys or values with each of their heads repeated for a group of queries' heads."""
    groups, m, width = node.context.types[value].shape
    if groups == heads:
        return value
    apart = node.emit(Moved(Reshape((groups, 1, m, width))), value)
    many = expanded(node, apart, (groups, heads // groups, m, width))
    return node.emit(Moved(Reshape((heads, m, width))), many)


def _mask(node: OnnxNode, shape: Shape) -> Array | None:
    """Return what is added to the scores, None for nothing. Refuses a row without a key: it has no softmax."""
    mask = np.zeros((1,) * 3)
    if node.has_input(3):
        given = node.need_constant(3, "mask")
        real = np.where(given, 0.0, -np.inf) if given.dtype == bool else np.asarray(given, np.float64)
        mask = node.sample_constant(real.reshape((1,) * (4 - real.ndim) + real.shape), shape, "mask")
    if node.attr("is_causal", 0):
        mask = mask + np.where(np.tril(np.ones(shape[1:])) > 0, 0.0, -np.inf)[None]
    if np.isneginf(np.broadcast_to(mask, shape)).all(axis=-1).any():
        raise node.refuse("its mask leaves a query without any key", "let every query see a key")
    return mask if mask.any() else None


IMPORTERS = {"Einsum": einsum, "Attention": attention}
