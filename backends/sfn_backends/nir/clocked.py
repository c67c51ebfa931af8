"""A network over time as NIR: integrate-and-fire neurons in a chain, for the readers that can be set to soft reset.

A NIR file says weights and thresholds; it has hard reset, no potential before the first step, one spike per step. What
is missing is in the metadata, and ``clocked_readers.py`` in the folder sets it in Sinabs, Norse or SpikingJelly.
Bias is constant there, so all is scaled by T: weights of spikes, thresholds, potentials (``docs/spec/time.md``, 2).
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.nir.net import DT
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError, Diagnostic, fail
from sfn_compile.program.clock import Pace
from sfn_compile.program.network import Conv, Dense, Move, Population, Program, Readout, Reshape, Step, SumPool, Uniform
from sfn_compile.program.ranges import charge_range
from sfn_compile.program.signals import kinds_of

Array = NDArray[Any]
Json = dict[str, Any]
FILES = {"network.nir": "IF", "network_cuba.nir": "CubaLIF"}
COPIED = ("artifact/run_clocked.py", "clocked_readers.py", "clocked_evaluator.py")
LARGEST = 2**23  # Norse adds half a unit to potentials: exact in float32 below
_STILL = 2.0**30  # a time constant so long that float32 forgets the leak


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the chain: what drives it, scaled, and the neuron, if it fires. ``node``: how its nodes are called."""

    name: str
    node: str
    shape: tuple[int, ...]
    moves: tuple[str, ...]
    conv: Conv | Dense
    bias: Array
    start: Array
    theta: Array | None
    most: int

    @property
    def drive(self) -> str:
        """The node of the weights."""
        return f"{self.node}_drive"


def check(program: Program) -> None:
    """Raise SFN610 with every layer that integrate-and-fire neurons in a chain cannot say."""
    problems = [d for step in program.steps for d in _problems(step, program)]
    problems += _ends(program)
    if problems:
        raise CompileError(problems)


def layers_of(program: Program) -> list[Layer]:
    """Return the chain, all integers scaled by the number of timesteps."""
    assert program.clock is not None
    found: list[Layer] = []
    moves: tuple[str, ...] = ()
    for i, step in enumerate(program.steps):
        if isinstance(step, Move):
            moves = (*moves, f"flatten{i}")
            continue
        assert isinstance(step, Population)
        found.append(_layer(step, f"layer{i}", program, program.clock.pace[step.name], moves))
        moves = ()
    return found


def _layer(step: Population, node: str, program: Program, pace: Pace, moves: tuple[str, ...]) -> Layer:
    assert program.clock is not None
    times, (p,) = program.clock.timesteps, step.projections
    source = program.values()[p.source].shape
    conv = _as_conv(p.map, source)
    if kinds_of(program)[p.source].sent:
        conv = Conv(conv.weight * times, conv.strides, conv.pads, conv.dilations) if isinstance(conv, Conv) else Dense(
            conv.weight * times
        )  # fmt: skip
    column = (len(conv.weight), *(1,) * (len(step.shape) - 1))
    bias = np.broadcast_to(pace.bias.astype(np.int64), column).reshape(-1)
    if isinstance(step.ladder, Readout):
        return Layer(step.name, node, step.shape, moves, conv, bias, np.zeros(column, np.int64), None, 0)
    assert isinstance(step.ladder, Uniform)
    offset = step.ladder.offset.astype(np.int64) + pace.initial.astype(np.int64)
    start = np.broadcast_to(offset * times, column)
    theta = np.broadcast_to(step.ladder.theta.astype(np.int64) * times, step.shape)
    return Layer(step.name, node, step.shape, moves, conv, bias, start, theta, pace.most)


def _as_conv(m: Any, source: tuple[int, ...]) -> Conv | Dense:
    if isinstance(m, Dense):
        return Dense(m.weight.astype(np.int64))
    if isinstance(m, SumPool):
        channels = source[0]
        weight = np.zeros((channels, channels, *m.kernel), np.int64)
        each = np.broadcast_to(m.weight.astype(np.int64).reshape(-1), (channels,))
        weight[np.arange(channels), np.arange(channels)] = each.reshape(-1, *(1,) * len(m.kernel))
        return Conv(weight, m.strides, m.pads, (1,) * len(m.kernel))
    assert isinstance(m, Conv)
    weight = np.zeros((len(m.weight), source[0], *m.weight.shape[2:]), np.int64)
    inside, outside = m.weight.shape[1], len(m.weight) // m.groups
    for g in range(m.groups):
        rows = slice(g * outside, (g + 1) * outside)
        weight[rows, g * inside : (g + 1) * inside] = m.weight[rows]
    return Conv(weight, m.strides, m.pads, m.dilations)


# -- refusals ---------------------------------------------------------------------------------------------------------
def _problems(step: Step, program: Program) -> list[Diagnostic]:
    where = ", ".join(step.origin.nodes) or step.name
    said = _cannot(step, program)
    if said is None:
        return []
    what, fix = said
    return [Diagnostic("SFN610", f"NIR over time: {step.name}: {what}", where, fix)]


def _cannot(step: Step, program: Program) -> tuple[str, str] | None:
    """Return why a step is none of a chain of integrate-and-fire neurons, and what helps."""
    assert program.clock is not None
    leave = "leave this target out, or compile for one timestep"
    if isinstance(step, Move):
        flat = isinstance(step.op, Reshape) and len(step.shape) == 1
        return None if flat else (f"no reader has the move {type(step.op).__name__}", leave)
    if not isinstance(step, Population) or step.products or step.name not in program.clock.pace:
        return f"it is no sum of weighted spikes ({type(step).__name__})", leave
    if len(step.projections) != 1:
        return "it adds up several values: readers run a chain", leave
    linear, source = step.projections[0].map, program.values()[step.projections[0].source].shape
    maps = isinstance(linear, Conv | SumPool) and len(source) == 3 and all(a == b for a, b in linear.pads)
    if not maps and not (isinstance(linear, Dense) and len(source) == 1):
        return f"no NIR node says its {type(linear).__name__}", leave
    if isinstance(linear, SumPool) and linear.weight.size not in (1, source[0]):
        return "its pool has weights per position", leave
    reach = max(map(abs, charge_range(step, program, program.values()))) * program.clock.timesteps
    if reach + _top(step) * program.clock.timesteps >= LARGEST:
        return (
            f"potentials reach {reach}, float32 with half a unit ends at {LARGEST}",
            "fewer --timesteps, --levels or --input-levels",
        )
    return _cannot_fire(step, program)


def _top(step: Population) -> int:
    ladder = step.ladder
    return int(np.abs(ladder.offset.astype(np.int64)).max(initial=0)) if isinstance(ladder, Uniform) else 0


def _cannot_fire(step: Population, program: Program) -> tuple[str, str] | None:
    assert program.clock is not None
    pace, ladder, steps = program.clock.pace[step.name], step.ladder, program.clock.timesteps
    if isinstance(ladder, Readout):
        return None
    if not isinstance(ladder, Uniform) or ladder.lo < 0 or pace.least < 0 or pace.start:
        return "no reader takes spikes back, or waits for a window", "--neuron if, or --neuron burst"
    if pace.most * steps > ladder.hi:
        fix = f"--levels {pace.most * steps}, or --timesteps {-(-ladder.hi // pace.most)}"
        return f"{steps} steps of {pace.most} reach {pace.most * steps}, its codes end at {ladder.hi}", fix
    if ladder.theta.size not in (1, len(ladder.theta)) or ladder.offset.size not in (1, len(ladder.offset)):
        return "its thresholds differ from position to position", leave_fix()
    return None


def leave_fix() -> str:
    """Return what helps where nothing of the network can be changed."""
    return "leave this target out, or compile for one timestep"


def _ends(program: Program) -> list[Diagnostic]:
    if len(program.inputs) != 1 or len(program.decoded()) != 1:
        return [Diagnostic("SFN610", "NIR over time: a chain has one input and one output", "", leave_fix())]
    last = program.steps[-1].name if program.steps else ""
    if program.decoded()[0] != last:
        return [Diagnostic("SFN610", f"NIR over time: the output {program.decoded()[0]!r} is not the end of the chain",
                           "", leave_fix())]  # fmt: skip
    read = [s for step in program.steps for s in step.sources]
    if len(read) != len(set(read)):
        return [Diagnostic("SFN610", "NIR over time: a value is read twice, readers run a chain", "", leave_fix())]
    return []


# -- files ------------------------------------------------------------------------------------------------------------
def write(program: Program, folder: Path) -> None:
    """Write the files of both neurons, the Program, the programs that run them, and README.md. Raises SFN610."""
    check(program)
    for name, neuron in FILES.items():
        (folder / name).write_bytes(_bytes(program, neuron))
    program_files.save(program, folder)
    with as_file(files("sfn_backends.nir")) as source:
        for file in COPIED:
            shutil.copyfile(source / file, folder / Path(file).name)
        shutil.copyfile(source / "artifact" / "CLOCKED.md", folder / "README.md")


def read(folder: Path) -> Program:
    """Return the Program of a folder. Raises SFN503 where a file is not what its integers make."""
    program = program_files.load(folder)
    for name, neuron in FILES.items():
        if _parsed((folder / name).read_bytes(), folder / name) != _parsed(_bytes(program, neuron), folder / name):
            raise fail("SFN503", f"{name} was changed: it is not what its integers make", str(folder), "compile again")
    return program


def _parsed(content: bytes, path: Path) -> Json:
    """Return all numbers and edges of a file, comparable."""
    import nir

    try:
        graph = nir.read(io.BytesIO(content))
        nodes = {n: {k: _plain(v) for k, v in vars(node).items()} for n, node in graph.nodes.items()}
        text = graph.metadata["sfnc"]
    except Exception as error:  # nir and h5py raise what they stumble over
        raise fail("SFN503", f"cannot read {path.name}: {error!r}", str(path), "compile again") from error
    return {"nodes": nodes, "edges": sorted(graph.edges), "text": text.decode() if isinstance(text, bytes) else text,
            "kinds": {n: type(node).__name__ for n, node in graph.nodes.items()}}  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return (str(value.dtype), value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def _bytes(program: Program, neuron: str) -> bytes:
    import nir

    layers, shape = layers_of(program), program.inputs[0].shape
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(shape)})}
    edges: list[tuple[str, str]] = []
    before, sizes = "input", shape
    for layer in layers:
        for move in layer.moves:
            nodes[move] = nir.Flatten({"input": np.array(sizes)}, start_dim=-len(sizes), end_dim=-1)
            edges.append((before, move))
            before, sizes = move, (int(np.prod(sizes)),)
        nodes[layer.drive] = _drive(nir, layer, sizes)
        edges.append((before, layer.drive))
        before, sizes = layer.drive, layer.shape
        if layer.theta is not None:
            nodes[layer.node] = _neuron(nir, neuron, layer.theta)
            edges.append((before, layer.node))
            before = layer.node
    nodes["output"] = nir.Output({"output": np.array(sizes)})
    edges.append((before, "output"))
    buffer = io.BytesIO()
    nir.write(buffer, nir.NIRGraph(nodes, edges, metadata={"sfnc": json.dumps(describe(program), sort_keys=True)}))
    return buffer.getvalue()


def describe(program: Program) -> Json:
    """Return the metadata: the chain, and per layer its potentials before the first step and units per step."""
    assert program.clock is not None
    layers = [
        {"name": x.name, "shape": x.shape, "moves": x.moves, "drive": x.drive, "most": x.most,
         "neuron": None if x.theta is None else x.node, "start": x.start.tolist(),
         "one_threshold": x.theta is None or bool((x.theta == x.theta.flat[0]).all())}
        for x in layers_of(program)
    ]  # fmt: skip
    clock = program.clock
    return {"format": 1, "form": "clocked", "timesteps": clock.timesteps, "steps": clock.steps,
            "frames": program.frames, "layers": layers}  # fmt: skip


def _drive(nir: Any, layer: Layer, source: tuple[int, ...]) -> Any:
    weight, bias = layer.conv.weight.astype(np.float32), layer.bias.astype(np.float32)
    if isinstance(layer.conv, Dense):
        return nir.Affine(weight, bias)
    pads = tuple(p[0] for p in layer.conv.pads)
    return nir.Conv2d(tuple(source[1:]), weight, tuple(layer.conv.strides), pads, tuple(layer.conv.dilations), 1, bias)


def _neuron(nir: Any, kind: str, theta: Array) -> Any:
    threshold, zeros = theta.astype(np.float32), np.zeros(theta.shape, np.float32)
    if kind == "IF":
        return nir.IF(r=np.full(theta.shape, 1 / DT, np.float32), v_threshold=threshold, v_reset=zeros)
    still = np.full(theta.shape, _STILL * 1e-3, np.float32)  # Norse steps by 1 ms
    return nir.CubaLIF(
        tau_syn=np.full(theta.shape, 1e-3, np.float32), tau_mem=still, r=np.full(theta.shape, _STILL, np.float32),
        v_leak=zeros, v_threshold=threshold, v_reset=zeros, w_in=np.ones(theta.shape, np.float32),
    )  # fmt: skip
