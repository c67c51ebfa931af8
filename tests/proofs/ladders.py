"""Whether a target's function of an accumulator is the Program's ladder, for every accumulator in the proved range."""

from __future__ import annotations

import numpy as np

from .functions import SWEEP, Function, constants, evaluate, rising
from .modular import FIELD, Array
from .program_values import Value
from .reading import NotProved

_CHUNK = 1 << 21
_FLOAT_TOP = 2.0**52


def compare(f: Function, zero: int, taus: Array, codes: Array, acc: Value) -> str:
    """Prove ``f - zero`` to be ``codes[thresholds that acc reaches]``; return how. Raises NotProved otherwise."""
    shape = acc.lo.shape
    rows = np.broadcast_to(np.arange(int(np.prod(taus.shape[:-1]))).reshape(taus.shape[:-1]), shape)
    taus = taus.reshape(int(np.prod(taus.shape[:-1])), taus.shape[-1])
    _same_shape(f.v, acc)
    shift = constants(f.v - acc.v, f.lo - acc.hi, f.hi - acc.lo)
    groups, member = _grouped(_one_class_per_element(f, acc.v.shape), rows, shift)
    lo, hi = np.full(len(groups), np.inf), np.full(len(groups), -np.inf)
    np.minimum.at(lo, member, acc.lo.reshape(-1))
    np.maximum.at(hi, member, acc.hi.reshape(-1))
    if max(-lo.min(initial=0), hi.max(initial=0)) > _FLOAT_TOP:
        raise NotProved("accumulators beyond 2^52")
    ends = lo.astype(np.int64), hi.astype(np.int64)
    if rising(f.node):
        _at_thresholds(f, zero, groups, ends, taus, codes)
        return "at every threshold"
    _everywhere(f, zero, groups, ends, taus, codes)
    return "at every accumulator"


def _one_class_per_element(f: Function, shape: tuple[int, ...]) -> Array:
    cls = np.broadcast_to(f.cls, shape)
    if (cls != cls[:1]).any():
        raise NotProved("samples of one batch are fired by different numbers")
    return np.asarray(cls[0])


def _grouped(*columns: Array) -> tuple[Array, Array]:
    """Return the distinct rows of columns ``(m, len(columns))``, and which of them each element is."""
    member = np.zeros(columns[0].size, np.int64)
    for column in columns:
        numbers, index = np.unique(column.reshape(-1), return_inverse=True)
        _, member = np.unique(member * len(numbers) + index.reshape(-1), return_inverse=True)
    first = np.unique(member, return_index=True)[1]
    return np.stack([c.reshape(-1)[first] for c in columns], axis=1).astype(np.int64), member


def _program_codes(acc: Array, groups: Array, taus: Array, codes: Array) -> Array:
    """Return the Program's codes of accumulators ``(groups, k)``."""
    return np.stack([codes[np.searchsorted(taus[g[1]], a, side="right")] for g, a in zip(groups, acc, strict=True)])


def _at_thresholds(f: Function, zero: int, groups: Array, ends: tuple[Array, Array], taus: Array, codes: Array) -> None:
    """Compare on both sides of every threshold and at both ends: enough for two functions that do not decrease."""
    if (np.diff(codes) < 0).any():
        raise NotProved("the Program's codes decrease, the target's function does not")
    each = max(1, _CHUNK // (2 * taus.shape[1] + 2))
    for at in range(0, len(groups), each):
        some, lo, hi = groups[at : at + each], ends[0][at : at + each, None], ends[1][at : at + each, None]
        tau = taus[some[:, 1]]
        acc = np.clip(np.concatenate([tau - 1, tau, lo, hi], axis=1), lo, hi)
        _same(f, zero, some, acc, taus, codes)


def _everywhere(f: Function, zero: int, groups: Array, ends: tuple[Array, Array], taus: Array, codes: Array) -> None:
    work = int((ends[1] - ends[0] + 1).sum())
    if work > SWEEP:
        raise NotProved(f"{work} accumulators to try one by one; at most {SWEEP} are tried")
    for i, group in enumerate(groups):
        for start in range(int(ends[0][i]), int(ends[1][i]) + 1, _CHUNK):
            acc = np.arange(start, min(start + _CHUNK, int(ends[1][i]) + 1))[None]
            _same(f, zero, group[None], acc, taus, codes)


def _same(f: Function, zero: int, groups: Array, acc: Array, taus: Array, codes: Array) -> None:
    expected = _program_codes(acc, groups, taus, codes)
    given = (acc + groups[:, 2:3]).astype(f.start_dtype)
    found = np.broadcast_to(evaluate(f.node, given, groups[:, 0]), acc.shape).astype(np.int64) - zero
    if (found != expected).any():
        i, j = (int(k) for k in np.argwhere(found != expected)[0])
        raise NotProved(
            f"accumulator {int(acc[i, j])}: the Program fires {int(expected[i, j])}, the target {int(found[i, j])}"
        )


def same_form(found: Value, zero: int, stated: Value) -> str:
    """Prove that a tensor holds the very integers of a value, shifted by ``zero``."""
    _same_shape(found.v, stated)
    if ((found.v - stated.v - zero) % FIELD.p).any():
        raise NotProved("the tensor holds another form than the value")
    return "the same form"


def _same_shape(found: Array, stated: Value) -> None:
    if found.shape != stated.v.shape:
        raise NotProved(f"a tensor of shape {found.shape[1:]} holds a value of shape {stated.v.shape[1:]}")
