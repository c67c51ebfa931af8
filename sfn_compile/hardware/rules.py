"""Design rules: small functions over a network's demand and plans; all are asked, none stops at the first finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..foundation.codes import CODES
from ..program.ranges import bits_for, largest
from .chip import BlockMemory, Chip, Count, Extra, WordMemory
from .demand import Demand, Layer
from .findings import Finding
from .memory import Readers, asked
from .plan import Plan

NO_RETRAINING = "no option mends it"


@dataclass(frozen=True)
class Case:
    """What the rules look at. ``fewest``: at the least words of a neuron; ``roomy``: at the most."""

    chip: Chip
    demand: Demand
    fewest: Plan
    roomy: Plan
    relay_cores: int
    counts_host: bool


def width_of_weights(case: Case) -> Iterable[Finding]:
    """Weights, once the power of two that they share is dropped."""
    limit = case.chip.limits.weight_bits
    for layer in case.demand.layers:
        bits = max((k.bits for k in layer.links), default=0)
        if bits > limit.value:
            yield _wide("width_of_weights", layer, "weights", bits, limit, f"--weight-bits {limit.value}")


def width_of_sums(case: Case) -> Iterable[Finding]:
    """The proved range of a neuron's sum, and what each of its connections reaches alone."""
    limit = case.chip.limits.sum_bits
    for layer in case.demand.layers:
        bits = max([layer.sum_bits, *(bits_for(-k.top, k.top) for k in layer.links)])
        if bits > limit.value:
            yield _wide("width_of_sums", layer, "sums", bits, limit, f"--acc-bits {limit.value}")


def width_of_codes(case: Case) -> Iterable[Finding]:
    """What a spike carries; a readout is read by the host and carries nothing."""
    limits = case.chip.limits
    for layer in case.demand.layers:
        bits = 0 if layer.ladder == "Readout" else bits_for(layer.lo, layer.hi)
        fix = f"--levels {largest(limits.code_bits.value)}"
        if bits > limits.code_bits.value:
            yield _wide("width_of_codes", layer, "codes", bits, limits.code_bits, fix)
    for name, info in case.demand.inputs.items():
        bits = bits_for(info.lo, info.hi)
        if bits > limits.code_bits.value:
            fix = f"--input-levels {largest(limits.code_bits.value)}"
            yield Finding("width_of_codes", "SFN412", name, (), f"the codes of input {name} have {bits} bits, the chip "
                          f"has {limits.code_bits.value}", bits, limits.code_bits.value, "bits",
                          limits.code_bits.source, fix)  # fmt: skip


def wide_codes(case: Case) -> Iterable[Finding]:
    """Codes that fit, but are wider than anything that was seen on the chip."""
    limits = case.chip.limits
    wide = [(x.name, bits_for(x.lo, x.hi)) for x in case.demand.layers if x.ladder != "Readout"]
    wide = [(n, b) for n, b in wide if limits.plain_code_bits.value + 1 < b <= limits.code_bits.value]
    if wide:
        name, bits = max(wide, key=lambda one: one[1])
        yield _unknown("wide_codes", f"codes of {len(wide)} layer(s) have up to {bits} bits ({name}): "
                       f"{limits.plain_code_bits.source}", limits.plain_code_bits,
                       f"--levels {2**limits.plain_code_bits.value - 1}", bits)  # fmt: skip


def parts_of_layers(case: Case) -> Iterable[Finding]:
    """The least part of a layer, one channel at one place, has to fit a core."""
    for layer in case.demand.layers:
        if layer.name in case.fewest.unplaced:
            yield _too_large(case, layer)


def cores_and_chips(case: Case) -> Iterable[Finding]:
    """All layers together, in the fewest cores and with the smallest neuron."""
    count, most = case.chip.cores.count, case.chip.most_chips
    cores = case.fewest.cores
    if cores > count.value * most:
        where = case.chip.board.title if case.chip.board else "the largest board"
        what = f"the network needs {cores} cores at least, {where} has {count.value * most} ({most} chips)"
        fix = "fewer channels, a smaller input or fewer --weight-bits" + (
            ", or a larger board" if case.chip.board else ""
        )
        yield Finding("cores_and_chips", "SFN410", "", (), what, cores, count.value * most, "cores", count.source, fix)


def waiting(case: Case) -> Iterable[Finding]:
    """Skips wait for the longer path: a connection holds a value back only so long."""
    limit = case.chip.limits.delay
    for layer in case.demand.layers:
        late = max(layer.links, key=lambda k: k.delay, default=None)
        if late is not None and late.delay > limit.value:
            what = f"{late.source} waits {late.delay} steps for {layer.name}, a connection can {limit.value}"
            fix = f"a shorter path beside the skip from {late.source}; {NO_RETRAINING}"
            yield Finding("waiting", "SFN410", layer.name, layer.nodes, what, late.delay, limit.value, "steps",
                          limit.source, fix)  # fmt: skip


def known_operations(case: Case) -> Iterable[Finding]:
    """What no core is known to compute is refused, or counted as work of the host."""
    for work in case.demand.host:
        what = f"{work.name}: no program of {case.chip.title}'s cores is known for {work.what}"
        if case.counts_host:
            what += f"; counted as host work, {work.operations:,} operations a sample"
        code = "SFN413" if case.counts_host else "SFN411"
        fix = "" if case.counts_host else f"{_instead(work.what)}--host-work counts it as work of the host"
        yield Finding("known_operations", code, work.name, work.nodes, what, work.operations, 0, "operations",
                      case.chip.limits.neurons_known.source, fix)  # fmt: skip


def programs_of_neurons(case: Case) -> Iterable[Finding]:
    """The neuron itself needs a program, which nobody has published."""
    if not isinstance(case.chip.memory, WordMemory) or not case.demand.layers:
        return
    known = case.chip.limits.neurons_known
    yield Finding("programs_of_neurons", "SFN413", "", (), f"a neuron clip(floor((sum + offset) / theta)) has no "
                  f"published program for {case.chip.title}; none was tried", source=known.source)  # fmt: skip
    odd = [x.name for x in case.demand.layers if not x.is_shift]
    if odd:
        what = f"{len(odd)} layer(s) have thresholds that are no powers of two ({_some(odd)}): their division needs "
        what += "multiply and shift, or comparisons; a power of two is a shift"
        yield Finding("programs_of_neurons", "SFN413", odd[0], (), what, len(odd), 0, "layers", known.source,
                      "--threshold pow2")  # fmt: skip
    tables = [x for x in case.demand.layers if x.thresholds]
    if tables:
        most = max(x.thresholds for x in tables)
        what = f"{len(tables)} layer(s) fire tables of up to {most} thresholds ({_some([x.name for x in tables])}): a "
        what += "chain of comparisons, whose memory is counted at the high end only"
        yield Finding("programs_of_neurons", "SFN413", tables[0].name, tables[0].nodes, what, most, 0, "thresholds",
                      known.source, "ReLU instead of a smooth function; --method mse makes equal steps")  # fmt: skip


def words_of_neurons(case: Case) -> Iterable[Finding]:
    """What fits with the smallest neuron may not with the largest."""
    memory, chip = case.chip.memory, case.chip
    if not isinstance(memory, WordMemory) or case.fewest.unplaced:
        return
    most, cores = chip.most_chips * chip.cores.count.value, case.roomy.cores
    if (case.roomy.unplaced or cores > most) and case.fewest.cores <= most:
        what = f"with {memory.state_words.high:g} words a neuron the network does not fit: "
        what += f"{_some(list(case.roomy.unplaced))} on no core" if case.roomy.unplaced else f"{cores} cores"
        yield Finding("words_of_neurons", "SFN413", "", (), what, cores, most, "cores", memory.state_words.source)


def rows_never_printed(case: Case) -> Iterable[Finding]:
    """The memory of connections of which the vendor's compiler has never been seen to print a row."""
    if not isinstance(case.chip.memory, WordMemory):
        return
    odd = [x.name for x in case.demand.layers if any(not k.window.is_printed for k in x.links)]
    wide = [x.name for x in case.demand.layers if any(k.kind == "conv" and k.bits >= 8 for k in x.links)]
    for names, kind in ((odd, "grouped, pooled, sparse or element-wise connections"), (wide, "convolutions of 8 bits")):
        if names:
            what = (
                f"no printed row of memory is known for {kind}: {len(names)} layer(s) ({_some(names)}); the range of "
            )
            what += "their synapse words is a word a row"
            yield Finding("rows_never_printed", "SFN413", names[0], (), what, len(names), 0, "layers",
                          case.chip.memory.conv_header_bits.source)  # fmt: skip


def relays(case: Case) -> Iterable[Finding]:
    """What waiting costs is not known: beside the layers it is counted as populations that hold a value for a step."""
    if case.demand.relays:
        neurons = sum(r.neurons for r in case.demand.relays)
        what = f"skips wait {len(case.demand.relays)} step(s) in all: as delays of connections, whose memory is not "
        what += f"known, or as {neurons:,} relay neurons on {case.relay_cores} more core(s)"
        yield Finding("relays", "SFN413", "", (), what, case.relay_cores, None, "cores", case.chip.limits.delay.source)


RULES: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    width_of_weights, width_of_sums, width_of_codes, known_operations, parts_of_layers, waiting, cores_and_chips,
    wide_codes, words_of_neurons, relays, rows_never_printed, programs_of_neurons,
)  # fmt: skip


def findings_of(case: Case) -> list[Finding]:
    """Return what all rules find, violations first."""
    found = [finding for rule in RULES for finding in rule(case)]
    return sorted(found, key=lambda f: CODES[f.code].severity == "warning")


def _too_large(case: Case, layer: Layer) -> Finding:
    """Return what of the least part of a layer passes a core, by its fullest memory."""
    memory, one = case.chip.memory, (1, 1, 1)
    state = memory.state_words.low if isinstance(memory, WordMemory) else 1
    use = asked(memory, layer, one, Readers(), state).use
    limits = _limits(memory)
    kind = max(limits, key=lambda k: float(use[k]) / limits[k].value)
    value, limit = int(np.max(use[kind])), limits[kind]
    what = f"one neuron of {layer.name} needs {value:,} {kind.replace('_', ' ')} of a core, which has {limit.value:,}"
    inputs = max((k.window.inputs * k.window.taps for k in layer.links), default=0)
    fix = f"fewer inputs than its {inputs:,} (pool or split what it reads), or fewer --weight-bits"
    fix = f"{fix}, or fewer --levels" if isinstance(memory, BlockMemory) else fix
    return Finding("parts_of_layers", "SFN410", layer.name, layer.nodes, what, value, limit.value,
                   kind.replace("_", " "), limit.source, fix)  # fmt: skip


def _limits(memory: WordMemory | BlockMemory) -> dict[str, Count]:
    """Return the limits of a core by the kind of what a tile takes."""
    if isinstance(memory, WordMemory):
        return {"synapses": memory.synapse_words, "state": memory.neurons, "axons_in": memory.axons_in,
                "axon_map": memory.axon_map, "axon_memory": memory.axon_memory,
                "total": memory.total_words}  # fmt: skip
    return {"compartments": memory.compartments, "axons_in": memory.axons_in, "synapse_bits": memory.synapse_bits,
            "axons_out": memory.axons_out}  # fmt: skip


def _wide(rule: str, layer: Layer, kind: str, bits: int, limit: Count, fix: str) -> Finding:
    what = f"the {kind} of {layer.name} have {bits} bits, the chip has {limit.value}"
    return Finding(rule, "SFN412", layer.name, layer.nodes, what, bits, limit.value, "bits", limit.source, fix)


def _unknown(rule: str, what: str, limit: Count | Extra, fix: str, value: float) -> Finding:
    return Finding(rule, "SFN413", "", (), what, value, limit.value, "bits", limit.source, fix)


def _instead(what: str) -> str:
    """Return how to train a network without an operation, where there is a usual way."""
    return "train it with a strided convolution or an average pool instead; " if what == "max pooling" else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
