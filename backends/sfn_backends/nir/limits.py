"""How large a NIR file may be. The size is known before anything is written."""

from __future__ import annotations

from collections.abc import Callable

from sfn_backends.nir.net import Net
from sfn_backends.nir_options import FORM
from sfn_compile.foundation.diagnostics import CompileError, fail

MAX_BYTES = 2 * 2**30  # of all arrays of the larger file, uncompressed; writing it takes about three times as much
MARGIN = 0.8  # of the levels that would just fit
MAX_MACS = 2 * 10**11  # per sample, dense arithmetic: minutes per sample on a laptop beyond this


def check(net: Net, form: str, most_levels: int, other: Callable[[str], Net]) -> None:
    """Raise SFN403 with the numbers where a net is larger than a laptop can run.

    The advice is tried: ``other`` returns the net of another form, or raises what refuses it. ``most_levels`` of any
    population; a chain of planes grows with them at least in proportion, so fewer by that much suffice.
    """
    size = _size(net, form)
    if _fits(net, form):
        return
    what = (
        f"the NIR form {form} needs {_count(size)}B of arrays and {_count(net.macs)} multiply-accumulates per "
        f"sample; the limits are {_count(MAX_BYTES)}B and {_count(MAX_MACS)}"
    )
    if net.why:
        what += f". It is large because a map had to become one vector: {net.why}"
    smaller = [f"--nir-form {name}" for name in FORM.choices if name != form and _is_possible(name, other)]
    levels = int(most_levels * min(MAX_BYTES / size, MAX_MACS / net.macs) * MARGIN)
    if form == "binary" and levels >= 1:
        smaller.append(f"--levels {levels} --fine-share 0 --digit-share 0")
    fix = (
        ", or ".join(smaller)
        or "no other form of NIR and no fewer levels make it fit; the target onnx has no such limit"
    )
    raise fail("SFN403", what, fix=fix)


def _size(net: Net, form: str) -> int:
    return net.bytes(5 if form == "binary" else 3)


def _fits(net: Net, form: str) -> bool:
    return _size(net, form) <= MAX_BYTES and net.macs <= MAX_MACS


def _is_possible(form: str, other: Callable[[str], Net]) -> bool:
    """Return whether the network can be written in another form."""
    try:
        return _fits(other(form), form)
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
