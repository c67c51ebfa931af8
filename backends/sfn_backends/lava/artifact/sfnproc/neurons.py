# mypy: ignore-errors
"""The Scale-and-Fire neuron at T = 1 in its two spellings, and the readout. All integers, no state between steps."""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


def _var(array):
    array = np.asarray(array, np.int64)
    return Var(shape=array.shape, init=array)


class Uniform(AbstractProcess):
    """``s = clip((a + offset) floordiv theta, lo, hi)``; theta and offset broadcast against ``shape``."""

    def __init__(self, *, shape, theta, offset, lo, hi, name=None):
        """Make neurons of ``shape`` with integer arrays ``theta`` (at least 1) and ``offset``."""
        super().__init__(shape=shape, name=name)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.theta = _var(theta)
        self.offset = _var(offset)
        self.limits = _var([lo, hi])


class Table(AbstractProcess):
    """``s = codes[number of thresholds that a reaches]``; thresholds ``(*broadcastable, n)``, codes ``(n + 1,)``."""

    def __init__(self, *, shape, thresholds, codes, name=None):
        """Make neurons of ``shape`` with sorted integer ``thresholds``."""
        super().__init__(shape=shape, name=name)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.thresholds = _var(thresholds)
        self.codes = _var(codes)


class Readout(AbstractProcess):
    """``s = a + offset``: the accumulator itself, with the bias that Lava's connections lack."""

    def __init__(self, *, shape, offset, name=None):
        """Make a readout of ``shape`` with an integer array ``offset``."""
        super().__init__(shape=shape, name=name)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.offset = _var(offset)


class _Model(PyLoihiProcessModel):
    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self):
        self.s_out.send(self.fire(self.a_in.recv().astype(np.int64)).astype(np.int32))


@implements(proc=Uniform, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyUniform(_Model):
    """CPU model of :class:`Uniform`."""

    theta: np.ndarray = LavaPyType(np.ndarray, np.int64)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)
    limits: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, acc):
        """Return the codes of int64 accumulators."""
        return np.clip(np.floor_divide(acc + self.offset, self.theta), self.limits[0], self.limits[1])


@implements(proc=Table, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyTable(_Model):
    """CPU model of :class:`Table`."""

    thresholds: np.ndarray = LavaPyType(np.ndarray, np.int64)
    codes: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, acc):
        """Return the codes of int64 accumulators."""
        count = np.zeros(acc.shape, np.int64)
        for j in range(self.thresholds.shape[-1]):
            count += acc >= self.thresholds[..., j]
        return self.codes[count]


@implements(proc=Readout, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyReadout(_Model):
    """CPU model of :class:`Readout`."""

    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def fire(self, acc):
        """Return the accumulators plus the offset."""
        return acc + self.offset
