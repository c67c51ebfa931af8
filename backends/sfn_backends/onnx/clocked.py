"""A network over time as an ONNX graph: every step of every sample is one of the batch, and a Scan paces each layer.

What has reached a neuron after a step is what its sources have emitted so far, weighed: sums are linear, and all else
is defined on counts (``docs/spec/time.md``). So each layer is written as at one timestep, for all steps together; what
it would emit is computed by one ``Scan`` that keeps the count. The file is as large for 4 steps as for 400.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from typing_extensions import assert_never

from sfn_backends.onnx import adaptive, firing
from sfn_backends.onnx.moves import write_move, write_pool
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import EXACT, Sum, accumulate
from sfn_backends.onnx.values import TYPES, Held, Values, integer_kind
from sfn_compile.program.clock import Pace
from sfn_compile.program.network import (
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Projection,
    Readout,
    Step,
)
from sfn_compile.program.ranges import absolute_bound, charge_range, product_bound
from sfn_compile.program.signals import Kind, is_relay, kinds_of

Array = NDArray[Any]


class ClockedNet:
    """Writes a Program with a clock.

    ``counts``: what has been emitted of a value after each step, ``(n * steps, ...)``; ``held``: codes that are there
    in every step, ``(n, ...)``; ``so_far``: what has come of both.
    """

    def __init__(self, net: Net, program: Program):
        assert program.clock is not None
        self.net, self.program, self.clock = net, program, program.clock
        self.kinds = kinds_of(program)
        self.info = program.values()
        wanted = {_would(s.name): self.info[s.name] for s in program.steps}
        self.counts = Values(net, self.info)
        self.held = Values(net, {**self.info, **{_beside(s.name): self.info[s.name] for s in program.steps}})
        self.so_far = Values(net, {**self.info, **wanted})
        self.charges: dict[str, str] = {}
        self._over: dict[str, str] = {}

    # -- values -------------------------------------------------------------------------------------------------------
    def give(self, name: str, kind: str) -> None:
        """Enter an input: constant codes, or frames, of which the counts are added up and kept behind the last."""
        if self.kinds[name].held:
            self.held.hold(name, name, kind)
            return
        frames = self.net.add("Cast", name, to=TYPES["float32"])
        total = self.net.add("CumSum", frames, self.net.constant(1, "int64"))
        shares = self.net.add("Sub", self._moments(), self.net.constant([1], "int64"))
        kept = self.net.add("Gather", total, shares, axis=1)
        codes = self.net.add("Reshape", kept, self.net.constant([-1, *self.info[name].shape], "int64"))
        self._hold_counts(name, self.net.add("Cast", codes, to=TYPES["int32"]), "int32", 0)

    def _hold_counts(self, name: str, tensor: str, kind: str, zero: int) -> None:
        self.counts.held[name] = Held(tensor, kind, zero, self.info[name])

    def _moments(self) -> str:
        """Return ``min(t, T)`` for every step t from 1 on, int64 ``(steps,)``."""
        if "moments" not in self._over:
            ends = (self.net.constant(v, "int64") for v in (1, self.clock.steps + 1, 1))
            count = self.net.add("Range", *ends)
            self._over["moments"] = self.net.add("Min", count, self.net.constant(self.clock.timesteps, "int64"))
        return self._over["moments"]

    def spread(self, charge: str, rank: int, kind: str) -> str:
        """Return what has arrived of int64 charges ``(n, *shape)`` after each step, ``(n, steps, *shape)``."""
        net, window = self.net, self.net.constant(self.clock.timesteps, "int64")
        column = net.add("Reshape", self._moments(), net.constant([-1, *(1,) * rank], "int64"))
        share = net.add("Mul", net.add("Unsqueeze", charge, net.constant([1], "int64")), column)
        even = net.add(
            "Div", net.add("Sub", share, net.add("Mod", share, window)), window
        )  # Mod has the divisor's sign
        return even if kind == "int64" else net.add("Cast", even, to=TYPES[kind])

    def come(self, name: str) -> None:
        """Make ``so_far`` hold a value, for steps that are defined on counts."""
        if name in self.so_far.held:
            return
        kind = self.kinds[name]
        if not kind.held:
            self.so_far.held[name] = self.counts[name]
            return
        shape = self.info[name].shape
        codes = self.held.number(name, "int64")
        total = self.net.add("Reshape", self.spread(codes, len(shape), "int64"), self._flat(shape))
        if kind.sent:
            total = self.net.add("Add", total, self.counts.number(name, "int64"))
        held = integer_kind(self.info[name].lo, self.info[name].hi)
        tensor = total if held == "int64" else self.net.add("Cast", total, to=TYPES[held])
        self.so_far.held[name] = Held(tensor, held, 0, self.info[name])

    def _flat(self, shape: tuple[int, ...]) -> str:
        return self.net.constant([-1, *shape], "int64")

    def _apart(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Return ``(n * steps, *shape)`` as ``(n, steps, *shape)``."""
        return self.net.add("Reshape", tensor, self.net.constant([-1, self.clock.steps, *shape], "int64"))

    # -- steps --------------------------------------------------------------------------------------------------------
    def write(self, step: Step) -> None:
        """Add the nodes of a step."""
        self.net.scope = step.name
        if is_relay(step, self.program):
            self._hand_on(step, self.kinds[step.name])
        elif isinstance(step, MaxPool):
            self.come(step.source)
            write_pool(self.net, self.so_far, step)
            self.counts.held[step.name] = self.so_far[step.name]
        elif isinstance(step, Population):
            self._fire(step, self.clock.pace[step.name])
        elif isinstance(step, Normalization):
            for source in step.sources:
                self.come(source)
            adaptive.normalize(self.net, self.so_far, replace(step, name=_would(step.name)))
            self._pace(step, self.clock.pace[step.name])
        elif isinstance(step, Move):
            raise AssertionError("a move hands on")
        else:
            assert_never(step)

    def _hand_on(self, step: Step, kind: Kind) -> None:
        """Move each part of what a step reads: the name of the value is that of the part that is told."""
        if kind.sent:
            self._move(step, self.counts, "sent")
        if kind.held:
            name = _beside(step.name) if kind.sent else step.name
            self._move(replace(step, name=name), self.held, "held")
            self.held.held[step.name] = self.held[name]

    def _move(self, step: Step, values: Values, part: str) -> None:
        for source in step.sources:
            if source not in values.held:
                values.held[source] = self._nothing(source, part)
        if isinstance(step, Move):
            write_move(self.net, values, step)
        else:
            assert isinstance(step, Population)
            firing.fire(self.net, values, step, accumulate(self.net, values, step, firing.room(step.ladder)))

    def _nothing(self, name: str, part: str) -> Held:
        """Return zeros for a part that a value does not have."""
        net, info = self.net, self.info[name]
        like = next(iter((self.held if part == "held" else self.counts).held.values())).tensor
        batch = net.add("Slice", net.add("Shape", like), *(net.constant([v], "int64") for v in (0, 1)))
        shape = net.add("Concat", batch, net.constant(info.shape, "int64"), axis=0)
        kind = integer_kind(info.lo, info.hi)
        return Held(net.add("Expand", net.constant(0, kind), shape), kind, 0, info)

    def _fire(self, step: Population, pace: Pace) -> None:
        """Add what a population would say of its charge after every step, and its pace."""
        low, high = charge_range(step, self.program, self.info)
        charge = self._charge(step, pace)
        self.charges[step.name] = charge.tensor
        for source in () if step.norm is None else (step.norm.source,):
            self.come(source)
        there = replace(step, name=_would(step.name), acc_min=low, acc_max=high)
        firing.fire(self.net, self.so_far, there, charge)
        self._pace(step, pace)

    def _charge(self, step: Population, pace: Pace) -> Sum:
        sent = tuple(p for p in step.projections if self.kinds[p.source].sent)
        held = tuple(p for p in step.projections if self.kinds[p.source].held)
        kind = self._kind(step, pace)
        room = np.inf if kind == "float32" else -1.0
        terms = []
        if sent:
            terms.append(accumulate(self.net, self.counts, _only(step, sent), room).tensor)
        if step.products:
            for q in step.products:
                self.come(q.left)
                self.come(q.right)
            terms.append(accumulate(self.net, self.so_far, replace(step, projections=()), room).tensor)
        total = terms[0] if terms else ""
        for term in terms[1:]:
            total = self.net.add("Add", total, term)
        return Sum(self._with_even(step, pace, held, total, kind), kind)

    def _kind(self, step: Population, pace: Pace) -> str:
        """Return the number type in which every number on the way to a charge is exact."""
        bounds = [absolute_bound(p.map, self.info[p.source]) for p in step.projections]
        bounds += [product_bound(q, self.info[q.left], self.info[q.right]) for q in step.products]
        beside = sum(int(np.abs(x.astype(np.int64)).max(initial=0)) for x in (pace.initial, pace.bias))
        return "float32" if sum(bounds) + beside < min(firing.room(step.ladder), EXACT) else "int64"

    def _with_even(self, step: Population, pace: Pace, held: tuple[Projection, ...], total: str, kind: str) -> str:
        """Add what held codes weigh and the bias, as far as they have arrived, and the charge before the first step."""
        net, rank = self.net, len(step.shape)
        bias, initial = (_ranked(x, rank) for x in (pace.bias, pace.initial))
        if not held and not bias.any() and not initial.any() and total:
            return total
        if held:
            constant = accumulate(net, self.held, _only(step, held), -1.0).tensor
            whole = net.add("Add", constant, net.constant(bias, "int64")) if bias.any() else constant
        else:
            whole = net.constant(bias, "int64")
        even = self.spread(whole, rank, kind)
        if initial.any():
            even = net.add("Add", even, net.constant(initial[:, None], kind))
        if not total:
            full = net.constant([1, 1, *step.shape], "int64")
            return net.add("Reshape", net.add("Expand", even, full), self._flat(step.shape))
        both = net.add("Add", self._apart(total, step.shape), even)
        return net.add("Reshape", both, self._flat(step.shape))

    # -- pace ---------------------------------------------------------------------------------------------------------
    def _pace(self, step: Population | Normalization, pace: Pace) -> None:
        """Hold the counts of neurons that would say the codes that ``so_far`` holds under their other name."""
        would = self.so_far.held.pop(_would(step.name))
        name, info = step.name, self.info[step.name]
        if isinstance(step.ladder, Readout):
            self._hold_counts(name, would.tensor, would.kind, would.zero)
            return
        span = info.hi - info.lo
        if pace.start == 0 and -pace.least >= span and pace.most >= span:
            self._hold_counts(name, would.tensor, would.kind, would.zero)
            return
        real = self._apart(self.net.add("Cast", would.tensor, to=TYPES["float32"]), step.shape)
        first = self.net.add("Gather", real, self.net.constant(0, "int64"), axis=1)
        nothing = self.net.add("Mul", first, self.net.constant(0, "float32"))
        start = self.net.add("Add", nothing, self.net.constant(would.zero, "float32")) if would.zero else nothing
        counts = self._scan(start, real, pace)
        flat = self.net.add("Reshape", counts, self._flat(step.shape))
        self._hold_counts(name, self.net.add("Cast", flat, to=TYPES[would.kind]), would.kind, would.zero)

    def _scan(self, start: str, real: str, pace: Pace) -> str:
        """Return the counts after each step: ``count += clip(code - count, least, most)``, nothing before its start."""
        net = self.net
        ends = [net.constant(v, "int64") for v in (1, self.clock.steps + 1, 1)]
        begun = net.add("Greater", net.add("Range", *ends), net.constant(pace.start, "int64"))
        open_ = net.add("Cast", begun, to=TYPES["float32"])
        name = net.free(f"{net.scope}/Scan")
        kept = net.free(f"{name}/last")
        output = net.free(f"{name}/counts")
        net.append(
            helper.make_node(
                "Scan", [start, real, open_], [kept, output], name=name, body=_body(name, pace), num_scan_inputs=2,
                scan_input_axes=[1, 0], scan_output_axes=[1],
            )
        )  # fmt: skip
        return output

    # -- ends ---------------------------------------------------------------------------------------------------------
    def output(self, name: str) -> onnx.ValueInfoProto:
        """Write an output as it is told: readouts as the answer so far, spikes step by step, held codes as they are."""
        net, info, kind = self.net, self.info[name], self.kinds[name]
        net.scope = f"{name}/output"
        if kind.held:
            made, shape = net.add("Identity", self.held.number(name, "int32")), info.shape
            net.rename(made, name)
            return helper.make_tensor_value_info(name, TYPES["int32"], ["n", *shape])
        wide = integer_kind(min(2 * info.lo, 0), max(2 * info.hi, 0))
        number = self._apart(self.counts.number(name, wide), info.shape)
        if kind.total:
            made = net.add("Identity", number)
        else:
            pads = [0, 1, *(0,) * len(info.shape), 0, 0, *(0,) * len(info.shape)]
            ends = (net.constant([v], "int64") for v in (0, self.clock.steps, 1))
            before = net.add("Slice", net.add("Pad", number, net.constant(pads, "int64")), *ends)
            made = net.add("Sub", number, before)
        net.rename(made, name)
        return helper.make_tensor_value_info(name, TYPES[wide], ["n", self.clock.steps, *info.shape])

    def places(self) -> dict[str, Any]:
        """Return where the integers of every value and charge are, for the metadata."""
        values = {}
        for name, kind in self.kinds.items():
            if kind.told:
                held = (self.held if kind.held else self.counts)[name]
                said = "held" if kind.held else "total" if kind.total else "counts"
                values[name] = {"tensor": held.tensor, "zero": held.zero, "shape": held.info.shape, "over_time": said}
        return {"values": values, "steps": self.clock.steps, "charges": self.charges}


def _would(name: str) -> str:
    """Return the name for what a neuron would say if nothing limited it."""
    return f"{name}/would"


def _beside(name: str) -> str:
    """Return the name for the held part of a value that has a sent one, too."""
    return f"{name}/held"


def _only(step: Population, projections: tuple[Projection, ...]) -> Population:
    return replace(step, projections=projections, products=())


def _ranked(x: Array, rank: int) -> Array:
    """Return an array that broadcasts against a sample with an axis for samples in front, int64."""
    return x.astype(np.int64).reshape((1,) * (rank + 1 - x.ndim) + x.shape)


def _body(name: str, pace: Pace) -> onnx.GraphProto:
    """Return one step of a pace: (count, code, whether it has begun) to (count, count)."""
    real = onnx.TensorProto.FLOAT
    least, most = (
        onnx.numpy_helper.from_array(np.array(v, np.float32), f"{name}/{n}")
        for n, v in (("least", pace.least), ("most", pace.most))
    )
    nodes = [
        helper.make_node("Sub", [f"{name}/code", f"{name}/count"], [f"{name}/left"]),
        helper.make_node("Clip", [f"{name}/left", f"{name}/least", f"{name}/most"], [f"{name}/units"]),
        helper.make_node("Mul", [f"{name}/units", f"{name}/begun"], [f"{name}/emitted"]),
        helper.make_node("Add", [f"{name}/count", f"{name}/emitted"], [f"{name}/next"]),
        helper.make_node("Identity", [f"{name}/next"], [f"{name}/told"]),
    ]
    inputs = [helper.make_tensor_value_info(f"{name}/{n}", real, None) for n in ("count", "code", "begun")]
    outputs = [helper.make_tensor_value_info(f"{name}/{n}", real, None) for n in ("next", "told")]
    return helper.make_graph(nodes, f"{name}/pace", inputs, outputs, [least, most])
