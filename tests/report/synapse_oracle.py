"""Every multiplication of a Program, one at a time in plain Python: what each synapse carries, padding left out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sfn_compile.program.linear_maps import Conv, Dense, Identity, SumPool
from sfn_compile.program.network import Population


def reads(linear, shape) -> Iterator[tuple[int, ...]]:
    """Every place of the source that is multiplied, as often as it is."""
    out = linear.out_shape(shape)
    if isinstance(linear, Dense):
        for place in product(*map(range, out)):
            yield from ((*place[:-1], i) for i in range(shape[-1]))
    elif isinstance(linear, Identity):
        yield from product(*map(range, out))
    elif isinstance(linear, Conv | SumPool):
        grouped = isinstance(linear, Conv)
        kernel = linear.weight.shape[2:] if grouped else linear.kernel
        dilations = linear.dilations if grouped else (1, 1)
        for o, *place in product(*map(range, out)):
            per_group = linear.weight.shape[1] if grouped else 1
            group = o // (linear.weight.shape[0] // linear.groups) if grouped else o
            for c, *tap in product(range(per_group), *map(range, kernel)):
                at = [p * s + t * d - before for p, s, t, d, (before, _) in
                      zip(place, linear.strides, tap, dilations, linear.pads, strict=True)]  # fmt: skip
                if all(0 <= a < size for a, size in zip(at, shape[1:], strict=True)):
                    yield (group * per_group + c, *at)
    else:
        raise AssertionError(type(linear))


def carried(step: Population, values, entry: set[str]) -> dict[str, float]:
    """Per sample: synapses, dense multiplications (of the input), and what passes the other synapses."""
    found = dict.fromkeys(("synapses", "multiplications", "events", "spikes", "set_bits"), 0.0)
    n = len(next(iter(values.values())))
    for sample in range(n):
        for p in step.projections:
            codes = values[p.source][sample]
            for place in reads(p.map, codes.shape):
                _count(found, int(codes[place]), p.source in entry, n)
        for q in step.products:
            left, right = values[q.left][sample], values[q.right][sample]
            for place in product(*map(range, left.shape)):
                _count(found, (int(left[place]), int(right[place])), False, n)
    return found


def _count(found, code, dense, n) -> None:
    found["synapses"] += 1 / n
    if dense:
        found["multiplications"] += 1 / n
        return
    factors = code if isinstance(code, tuple) else (code,)
    spikes = bits = 1
    for k in factors:
        spikes, bits = spikes * abs(k), bits * bin(abs(k)).count("1")
    found["events"] += (spikes > 0) / n
    found["spikes"] += spikes / n
    found["set_bits"] += bits / n
