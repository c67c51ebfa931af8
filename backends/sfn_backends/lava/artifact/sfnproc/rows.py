# mypy: ignore-errors
"""Neurons whose thresholds follow a row: its maximum, its sum, its standard deviation. All integers, int64 inside.

Arrays and axes are those of a sample; the ports have Lava's order of axes.
"""

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
from layout import lava_shape, to_port, to_sample


def _var(array):
    array = np.atleast_1d(np.asarray(array, np.int64))  # Lava fills no variable without an axis
    return Var(shape=array.shape, init=array)


class RowTable(AbstractProcess):
    """``s = codes[number of thresholds reached by a + offset - (maximum of a + offset over axis)]``."""

    def __init__(self, *, sample, thresholds, codes, offset, axis, name=None):
        """Make neurons of the shape ``sample`` with sorted integer ``thresholds`` ``(*broadcastable, n)``."""
        super().__init__(sample=tuple(sample), axis=axis, name=name)
        self.a_in = InPort(shape=lava_shape(sample))
        self.s_out = OutPort(shape=lava_shape(sample))
        self.thresholds = _var(thresholds)
        self.codes = _var(codes)
        self.offset = _var(offset)


class RowSum(AbstractProcess):
    """``a_out`` = the sum over ``axis`` of the step before, kept as an axis of length 1.

    Like Lava's own connections it answers one time step later, so it stands beside those of the neuron it scales.
    """

    def __init__(self, *, sample, axis, name=None):
        """Make a sum of messages of the shape ``sample``."""
        super().__init__(sample=tuple(sample), axis=axis, name=name)
        rows = list(sample)
        rows[axis] = 1
        self.s_in = InPort(shape=lava_shape(sample))
        self.a_out = OutPort(shape=lava_shape(rows))
        self.a_buff = Var(shape=lava_shape(rows), init=0)


class Ratio(AbstractProcess):
    """``s = clip((a + offset * r) floordiv (theta * r), lo, hi)`` with r the message of ``r_in``, at least 1."""

    def __init__(self, *, sample, rows, theta, offset, lo, hi, name=None):
        """Make neurons of the shape ``sample``; r has the shape ``rows``, which broadcasts against it."""
        super().__init__(sample=tuple(sample), rows=tuple(rows), name=name)
        self.a_in = InPort(shape=lava_shape(sample))
        self.r_in = InPort(shape=lava_shape(rows))
        self.s_out = OutPort(shape=lava_shape(sample))
        self.theta = _var(theta)
        self.offset = _var(offset)
        self.limits = _var([lo, hi])


class Normalization(AbstractProcess):
    """``s = clip((gain * d + offset * r) floordiv (theta * r), lo, hi)`` of the step before.

    With ``x`` the sum of ``weight * message`` of one or two ports, n numbers to a row over ``axes``: ``d = n * x -
    sum(x)`` and r at least 1 is the integer square root of ``((n * sum(x ** 2) - sum(x) ** 2) << (2 * bits)) +
    epsilon``; where not ``centred``, without ``sum(x)``. It reads messages of neurons as a connection does, and answers
    one time step later.
    """

    def __init__(self, *, sample, axes, centred, epsilon, bits, weights, gain, theta, offset, lo, hi, name=None):
        """Make neurons of the shape ``sample``; every array broadcasts against it.

        The second port stays open where there is one weight: an open port receives zeros.
        """
        super().__init__(sample=tuple(sample), axes=tuple(axes), centred=centred, bits=bits, name=name)
        self.s_in = InPort(shape=lava_shape(sample))
        self.t_in = InPort(shape=lava_shape(sample))
        self.s_out = OutPort(shape=lava_shape(sample))
        self.weight = _var(weights[0])
        self.weight_t = _var(weights[1] if len(weights) > 1 else 0)
        self.gain = _var(gain)
        self.theta = _var(theta)
        self.offset = _var(offset)
        self.epsilon = _var([epsilon])
        self.limits = _var([lo, hi])
        self.s_buff = Var(shape=lava_shape(sample), init=0)


def isqrt(x):
    """Return the largest integer r with ``r * r <= x`` of int64 ``0 <= x < 2**62``; float64 is off by at most one."""
    r = np.floor(np.sqrt(x.astype(np.float64))).astype(np.int64)
    r -= r * r > x
    r += (r + 1) * (r + 1) <= x
    return r


def ratio(acc, r, theta, offset, limits):
    """Return ``clip((acc + offset * r) floordiv (theta * r), *limits)``."""
    return np.clip(np.floor_divide(acc + offset * r, theta * r), limits[0], limits[1])


@implements(proc=RowTable, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRowTable(PyLoihiProcessModel):
    """CPU model of :class:`RowTable`; it adds no time step."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    thresholds: np.ndarray = LavaPyType(np.ndarray, np.int64)
    codes: np.ndarray = LavaPyType(np.ndarray, np.int64)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Fire one step."""
        moved = to_sample(self.a_in.recv(), self.proc_params["sample"]) + self.offset
        left = moved - moved.max(axis=self.proc_params["axis"], keepdims=True)
        count = np.zeros(left.shape, np.int64)
        for j in range(self.thresholds.shape[-1]):
            count += left >= self.thresholds[..., j]
        self.s_out.send(to_port(self.codes[count], self.s_out.shape))


@implements(proc=RowSum, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRowSum(PyLoihiProcessModel):
    """CPU model of :class:`RowSum`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    a_buff: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self):
        """Send the sums of the step before, then add up the messages of this one."""
        self.a_out.send(self.a_buff)
        codes = to_sample(self.s_in.recv(), self.proc_params["sample"])
        self.a_buff = to_port(codes.sum(axis=self.proc_params["axis"], keepdims=True), self.a_buff.shape)


@implements(proc=Ratio, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRatio(PyLoihiProcessModel):
    """CPU model of :class:`Ratio`; it adds no time step."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    r_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    theta: np.ndarray = LavaPyType(np.ndarray, np.int64)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)
    limits: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Fire one step."""
        acc = to_sample(self.a_in.recv(), self.proc_params["sample"])
        r = np.maximum(to_sample(self.r_in.recv(), self.proc_params["rows"]), 1)
        self.s_out.send(to_port(ratio(acc, r, self.theta, self.offset, self.limits), self.s_out.shape))


@implements(proc=Normalization, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNormalization(PyLoihiProcessModel):
    """CPU model of :class:`Normalization`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    t_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    weight: np.ndarray = LavaPyType(np.ndarray, np.int64)
    weight_t: np.ndarray = LavaPyType(np.ndarray, np.int64)
    gain: np.ndarray = LavaPyType(np.ndarray, np.int64)
    theta: np.ndarray = LavaPyType(np.ndarray, np.int64)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int64)
    epsilon: np.ndarray = LavaPyType(np.ndarray, np.int64)
    limits: np.ndarray = LavaPyType(np.ndarray, np.int64)
    s_buff: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self):
        """Send the codes of the step before, then normalise the messages of this one."""
        self.s_out.send(self.s_buff)
        p = self.proc_params
        x = to_sample(self.s_in.recv(), p["sample"]) * self.weight
        x = x + to_sample(self.t_in.recv(), p["sample"]) * self.weight_t
        n = int(np.prod([x.shape[a] for a in p["axes"]]))
        total = x.sum(axis=p["axes"], keepdims=True) * int(p["centred"])
        squares = n * (x * x).sum(axis=p["axes"], keepdims=True) - total * total
        r = np.maximum(isqrt((squares << (2 * p["bits"])) + self.epsilon), 1)
        codes = ratio(self.gain * (n * x - total), r, self.theta, self.offset, self.limits)
        self.s_buff = to_port(codes, self.s_buff.shape)
