# mypy: ignore-errors
"""Max pooling of codes, which lava-nc lacks."""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class MaxPool(AbstractProcess):
    """Maximum of each window over the leading axes; padding reads ``fill``, the smallest code, so it never wins."""

    def __init__(self, *, shape_in, shape_out, kernel, strides, pads, dilations, fill, name=None):
        """Make a pooling from ``shape_in`` to ``shape_out`` (channels last), with one entry per leading axis."""
        super().__init__(kernel=kernel, strides=strides, pads=pads, dilations=dilations, fill=fill, name=name)
        self.s_in = InPort(shape=shape_in)
        self.s_out = OutPort(shape=shape_out)


@implements(proc=MaxPool, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyMaxPool(PyLoihiProcessModel):
    """CPU model of :class:`MaxPool`; it adds no time step."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self):
        """Pool one step."""
        p = self.proc_params
        padded = np.pad(self.s_in.recv(), [*p["pads"], (0, 0)], constant_values=p["fill"])
        spans = [(k - 1) * d + 1 for k, d in zip(p["kernel"], p["dilations"], strict=True)]
        axes = tuple(range(len(spans)))
        view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
        view = view[(*(slice(None, None, s) for s in p["strides"]), slice(None))]
        taps = view[(..., *(slice(None, None, d) for d in p["dilations"]))]
        self.s_out.send(taps.max(axis=tuple(range(-len(spans), 0))))
