"""What a sample costs, estimated four ways from counted events, beside the float network and the quantised one.

Nothing here was measured on a chip. Operations are counted on real samples (:mod:`.activity`), padding left out, and
each is priced by one constant of the table below. Two columns, so that every ratio compares like with like:

* ``literature``: float32 operations, as conversion papers count (an event is an addition, the float network
  multiplies); the first layer, which reads the image, is charged as multiplications. Compare with ``float``.
* ``integer``: integer operations of the widths that the network has, comparisons of its neurons included. Compare with
  ``matched``, the quantised network of the same function: every multiplication done, codes of the same bits. What is
  fired in two populations is one value there, of the bits of both, and nothing is read twice.

The four prices differ in what passes a synapse (``docs/spec/files.md``): E1 one addition per code that is not 0, E2
one per unary spike, E3 one per set bit, E4 one small multiplication per code that is not 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

from typing_extensions import assert_never

from ..program.network import MaxPool, Move, Normalization, Population, Program, Step, ValueInfo
from ..program.relations import repeats_a_sum
from .activity import MEASURES, Activity, Seen
from .rounding_errors import by_rounded_value, rounding_errors

_HOROWITZ = "Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, 0.9 V)"
# name -> (value, unit, what it is and where it comes from); the only numbers of this estimate that are not counted
CONSTANTS: dict[str, tuple[float, str, str]] = {
    "float_multiply": (3.7, "pJ", f"32-bit floating-point multiplication; {_HOROWITZ}"),
    "float_add": (0.9, "pJ", f"32-bit floating-point addition; {_HOROWITZ}"),
    "multiply_8x8": (0.2, "pJ", f"8-bit integer multiplication; {_HOROWITZ}. b_w x b_k bits: times b_w b_k / 64, "
                     "which makes 3.2 of the 3.1 pJ given there for 32 bits"),
    "add_32": (0.1, "pJ", f"32-bit integer addition; {_HOROWITZ}. b bits: times b / 32. A shifted addition and a "
               "comparison cost the same"),
    "sram_bit": (10 / 64, "pJ", f"one bit of a 64-bit read from an 8 KB SRAM (10 pJ); {_HOROWITZ}"),
}  # fmt: skip
PRICES = {
    "E1": "an addition per event (a code that is not 0), whatever its size: flatters codes above 1",
    "E2": "an addition per unary spike: sum of |k|",
    "E3": "a shifted addition per set bit of |k|",
    "E4": "a small multiplication, weight bits x code bits, per event",
}
LEFT_OUT = ("membrane potentials (none survive the only timestep)", "routing of events", "moves and max pools",
            "static power", "the host's encoding, decoding and tail")  # fmt: skip


FLOAT_MAC = CONSTANTS["float_multiply"][0] + CONSTANTS["float_add"][0]


@dataclass(frozen=True)
class Term:
    """One projection or product, per sample: its multiplications, what passes, and the bits of its two factors.

    ``dense``: every multiplication is done, whatever the codes (the first layer, normalisations). ``carried``: the
    float network has nothing like it, nor the quantised one. ``weighted``: an event fetches a weight. ``more_bits``: of
    the code of a second population that fires the rounding error of this one.
    """

    synapses: float
    active: Activity
    bits: tuple[int, int]
    dense: bool = False
    carried: bool = False
    weighted: bool = True
    more_bits: int = 0


def code_bits(info: ValueInfo) -> int:
    """Return ceil(log2(number of codes)): the bits of the quantised network of the same capacity."""
    return max(1, ceil(log2(info.hi - info.lo + 1)))


def estimate(program: Program, rows: Iterable[Mapping[str, Any]], seen: Seen) -> dict[str, Any]:
    """Return ``report.json``'s ``energy``: constants, one row per population, totals with ratios."""
    steps = {s.name: s for s in program.steps}
    entry, info, rows = _behind_inputs(program), program.values(), [r for r in rows if r["kind"] != "input"]
    more = {first: code_bits(info[error]) for first, error in by_rounded_value(program).items()}
    counted = Counted(entry, info, seen, more, rounding_errors(program))
    layers = [{"name": row["name"], **price(_terms(steps[row["name"]], row, counted), row)} for row in rows]
    return {
        "estimate": True, "unit": "pJ per sample", "prices": dict(PRICES), "left_out": list(LEFT_OUT),
        "constants": {name: {"value": value, "unit": unit, "source": source}
                      for name, (value, unit, source) in CONSTANTS.items()},
        "layers": layers, "totals": totals(layers),
    }  # fmt: skip


def _behind_inputs(program: Program) -> set[str]:
    """Return the inputs and what moves and max pools make of them: who reads these is the first layer."""
    found = {e.value for e in program.inputs}
    for step in program.steps:
        if isinstance(step, Move | MaxPool) and found.issuperset(step.sources):
            found.add(step.name)
    return found


@dataclass(frozen=True)
class Counted:
    """What is known of a network's values: inputs (``entry``), ranges, codes seen, and which hold rounding errors.

    ``more``: of values whose rounding error another fires, the bits of that one's codes.
    """

    entry: set[str]
    info: Mapping[str, ValueInfo]
    seen: Seen
    more: Mapping[str, int]
    errors: set[str]


def _terms(step: Step, row: Mapping[str, Any], counted: Counted) -> list[Term]:
    if isinstance(step, MaxPool | Move):  # no arithmetic
        return []
    if isinstance(step, Normalization):  # mean, square and gain of every element
        return [Term(row["macs"], Activity(), (row["weight_bits"], row["acc_bits"]), dense=True, weighted=False)]
    if not isinstance(step, Population):
        assert_never(step)
    found, info, again = [], counted.info, repeats_a_sum(step.relation)
    for i, (p, said) in enumerate(zip(step.projections, row["projections"], strict=True)):
        counter, reader = counted.seen.counters[p.source], (step.name, i)
        found.append(Term(
            counter.synapse_count(reader), counter.synapses(reader), (said["weight_bits"], code_bits(info[p.source])),
            dense=p.source in counted.entry, carried=again or p.role == "copy" or p.source in counted.errors,
            more_bits=counted.more.get(p.source, 0),
        ))  # fmt: skip
    for q, said in zip(step.products, row["products"], strict=True):
        bits = code_bits(info[q.left]), code_bits(info[q.right])
        active = counted.seen.products[q.left, q.right]
        found.append(Term(said["macs"], active, bits, carried=again, weighted=False))
    return found


NOBODY: dict[str, Any] = {"shape": (0,), "levels": None, "acc_bits": 0}  # the row of a population without neurons


def price(terms: Iterable[Term], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts and prices of one population, whose ``row`` says its shape, levels and accumulator's bits."""
    terms, bits = list(terms), row["acc_bits"]
    active, own = [t for t in terms if not t.dense], [t for t in terms if not t.carried]
    passed = sum((t.active for t in active), Activity())
    dense = sum(t.synapses for t in terms if t.dense)
    neurons, levels = prod(row["shape"]), row["levels"] or 0
    search = neurons * ceil(log2(levels + 1)) if levels else 0
    always = search * addition(bits) + sum(_multiplied(t, t.synapses, bits) for t in terms if t.dense)
    counts = {"E1": passed.events, "E2": passed.spikes, "E3": passed.set_bits}
    integer = {name: always + n * addition(bits) for name, n in counts.items()}
    compares = search * addition(bits) if own else 0.0
    return {
        "synapses": sum(t.synapses for t in terms), "synapses_float": sum(t.synapses for t in own),
        "multiplications": dense, **passed.as_dict(),
        "compares_thermometer": neurons * levels, "compares_search": search,
        "weight_fetches": sum(t.synapses if t.dense else t.active.events for t in terms if t.weighted),
        "literature": {name: n * CONSTANTS["float_add"][0] + dense * FLOAT_MAC for name, n in counts.items()},
        "integer": {**integer, "E4": always + sum(_multiplied(t, t.active.events, bits) for t in active)},
        "float": FLOAT_MAC * sum(t.synapses for t in own),
        "matched": compares + sum(_multiplied(t, t.synapses, bits, t.more_bits) for t in own),
        "fetched": sum(_fetched(t, t.synapses if t.dense else t.active.events) for t in terms),
        "fetched_matched": sum(_fetched(t, t.synapses) for t in own),
    }  # fmt: skip


def _multiplied(term: Term, n: float, acc_bits: int, more_bits: int = 0) -> float:
    weight_bits, bits = term.bits
    return n * multiply_accumulate(weight_bits, bits + more_bits, acc_bits)


def _fetched(term: Term, n: float) -> float:
    return n * term.bits[0] * CONSTANTS["sram_bit"][0] if term.weighted else 0.0


def multiply_accumulate(weight_bits: int, bits: int, acc_bits: int) -> float:
    """Return the price in pJ of one small integer multiplication and its addition."""
    return CONSTANTS["multiply_8x8"][0] * weight_bits * bits / 64 + addition(acc_bits)


def addition(bits: int) -> float:
    """Return the price in pJ of one integer addition or comparison."""
    return CONSTANTS["add_32"][0] * bits / 32


def totals(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over all populations, and the ratios that are compared (None: nothing to compare).

    Every sum is there and 0 where a network has no population: pools and moves alone.
    """
    layers = [price((), NOBODY), *layers]
    plain = [k for k, v in layers[0].items() if not isinstance(v, str | dict)]
    found: dict[str, Any] = {name: sum(row[name] for row in layers) for name in plain}
    for column in ("literature", "integer"):
        found[column] = {p: sum(r[column][p] for r in layers) for p in layers[0][column]}
    found["to_float"] = {p: ratio(v, found["float"]) for p, v in found["literature"].items()}
    found["to_matched"] = {p: ratio(v, found["matched"]) for p, v in found["integer"].items()}
    found["matched_to_float"] = ratio(found["matched"], found["float"])
    found["to_matched_with_fetches"] = {
        p: ratio(v + found["fetched"], found["matched"] + found["fetched_matched"]) for p, v in found["integer"].items()
    }
    spiking = found["synapses"] - found["multiplications"]
    found["per_synapse"] = {name: ratio(found[name], spiking) for name in MEASURES}
    return found


def ratio(a: float, b: float) -> float | None:
    """Return a / b, None where there is nothing to divide by."""
    return a / b if b else None
