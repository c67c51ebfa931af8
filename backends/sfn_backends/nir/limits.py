"""How large a NIR file may be. The size is known before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sfn_backends.nir.net import Net
from sfn_backends.nir_options import FORM
from sfn_compile.foundation.diagnostics import CompileError, fail

MAX_BYTES = 2 * 2**30  # of all arrays of the larger file, uncompressed; writing it takes about three times as much
MAX_MACS = 2 * 10**11  # per sample, dense arithmetic: minutes per sample on a laptop beyond this


Nets = Sequence[Net]  # one per file


def check(nets: Nets, form: str, most_levels: int, other: Callable[[str, int], Nets]) -> None:
    """Raise SFN403 with the numbers where a file is larger than a laptop can run.

    The advice is tried: ``other(form, levels)`` returns the nets of another form or with fewer levels, or raises what
    refuses them. ``most_levels`` of any population.
    """
    if _fits(nets, form):
        return
    net = max(nets, key=lambda n: size(n, form))
    what = (
        f"the NIR form {form} needs {_count(size(net, form))}B of arrays and {_count(net.macs)} multiply-accumulates "
        f"per sample; the limits are {_count(MAX_BYTES)}B and {_count(MAX_MACS)}"
    )
    if net.why:
        what += f". It is large because a map had to become one vector: {net.why}"
    forms = [f for f in FORM.choices if f != form and _is_possible(partial(other, f, most_levels), f)]
    smaller = [f"--nir-form {name}" for name in forms]
    levels = _most_that_fit(form, most_levels, other) if form == "binary" else 0
    if levels:
        smaller.append(f"--levels {levels} --fine-share 0 --digit-share 0")
    fix = (
        ", or ".join(smaller)
        or "no other form of NIR and no fewer levels make it fit; the target onnx has no such limit"
    )
    raise fail("SFN403", what, fix=fix)


def size(net: Net, form: str) -> int:
    """Return the bytes of all arrays of a file, of the larger where a form has two."""
    return net.bytes("LIF" if form == "binary" else "IF")


def _most_that_fit(form: str, most: int, other: Callable[[str, int], Nets]) -> int:
    """Return the most levels with which every file fits, 0 where there is no such number."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if _is_possible(partial(other, form, middle), form):
            low = middle
        else:
            high = middle
    return low


def _fits(nets: Nets, form: str) -> bool:
    return all(size(net, form) <= MAX_BYTES and net.macs <= MAX_MACS for net in nets)


def _is_possible(make: Callable[[], Nets], form: str) -> bool:
    """Return whether the network can be written so."""
    try:
        return _fits(make(), form)
    except CompileError:
        return False


def _count(n: float) -> str:
    """Return a number with a decimal prefix.

    >>> _count(999), _count(12_345_678), _count(2e11)
    ('999 ', '12.3 M', '200 G')
    """
    for prefix in ("", "k", "M", "G", "T"):
        if n < 1000:
            return f"{n:.3g} {prefix}"
        n /= 1000
    return f"{n:.3g} P"
