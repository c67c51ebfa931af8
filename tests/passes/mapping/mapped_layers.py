"""The layers of a mapped graph by name, and what holds of every mapped graph."""

from __future__ import annotations

import numpy as np

from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Graph
from sfn_compile.graph.ops import Layer
from sfn_compile.host.codec import encode
from sfn_compile.program.network import Readout, Table, Uniform
from sfn_compile.simulator.run import run_codes

from ..pass_examples import program_of


def layers(graph: Graph) -> list[tuple[str, Layer]]:
    return [(n.name, n.op) for n in graph.nodes if isinstance(n.op, Layer)]


def layer(graph: Graph, name: str) -> Layer:
    return dict(layers(graph))[name]


def ladder_of(graph: Graph, name: str) -> Uniform | Table | Readout:
    return layer(graph, name).ladder


def check_choices(graph: Graph, options: Options) -> None:
    """What holds of every mapped network, whatever it is."""
    top = 2 ** (options.weight_bits - 1) - 1
    for name, found in layers(graph):
        form = found.integer
        assert all(np.abs(m.weight).max(initial=0) <= top for m in (*form.maps, *form.products)), name
        assert max(-form.acc_min, form.acc_max) < 2 ** (options.acc_bits - 1), name
        if isinstance(found.ladder, Uniform):
            assert (found.ladder.theta % 2 == 1).all(), name
            assert (found.ladder.theta >= 1).all(), name
        if isinstance(found.ladder, Table):
            assert (np.diff(found.ladder.table, axis=-1) >= 0).all(), name
        if isinstance(found.ladder, Readout):
            assert np.unique(form.alpha).size == 1, name


def assert_the_program_follows_the_float_graph(graph: Graph, x, least_db: float) -> None:
    """The signal to noise of every output on the calibration samples: a wrong fold is far below 0 dB."""
    program = program_of(graph)
    codes = run_codes(program, {e.value: encode(e, x) for e in program.inputs})
    from sfn_compile.host.codec import prepare_all

    real = graph.evaluate(prepare_all(graph, {"x": x}))
    for out in program.outputs:
        want, got = real[out.value], codes[out.value] * out.step
        noise_power = float(((want - got) ** 2).sum())
        assert noise_power <= 10 ** (-least_db / 10) * float((want**2).sum()), out.name
