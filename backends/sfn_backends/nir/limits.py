"""How large a NIR file may be. The size is known before anything is written."""

from __future__ import annotations

from sfn_backends.nir.net import Net
from sfn_compile.foundation.diagnostics import fail

MAX_BYTES = 2 * 2**30  # of all arrays of the larger file, uncompressed; writing it takes about three times as much
MAX_MACS = 2 * 10**11  # per sample, dense arithmetic: minutes per sample on a laptop beyond this


def check(net: Net, form: str) -> None:
    """Raise SFN403 with the numbers where a net is larger than a laptop can run."""
    size = net.bytes(5 if form == "binary" else 3)
    if size <= MAX_BYTES and net.macs <= MAX_MACS:
        return
    what = (
        f"the NIR form {form} needs {_count(size)}B of arrays and {_count(net.macs)} multiply-accumulates per "
        f"sample; the limits are {_count(MAX_BYTES)}B and {_count(MAX_MACS)}"
    )
    if net.why:
        what += f". It is large because a map had to become one vector: {net.why}"
    fix = "use fewer --levels, --fine-share 0 or --digit-share 0"
    raise fail("SFN403", what, fix=f"{fix}, or --nir-form sar" if form == "binary" else fix)


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
