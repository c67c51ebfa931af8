# mypy: ignore-errors
"""Time: what a neuron has summed up, how fast it may tell it, and counts. Samples follow each other without a gap.

A process at depth d works in step s on step ``(s - 1 - d) % period`` of sample ``(s - 1 - d) // period``; at step 0 of
a sample it forgets the one before. None of these adds a time step.
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


def _var(array):
    array = np.atleast_1d(np.asarray(array, np.int64))  # Lava fills no variable without an axis
    return Var(shape=array.shape, init=array)


class Charge(AbstractProcess):
    """``s`` = initial + all of ``a_in`` so far + ``floor(min(t, timesteps) (h_in + bias) / timesteps)`` + ``p_in``.

    t counts the steps that are over with this one. ``a_in``: what spikes weigh; ``h_in``: what codes weigh that are
    there in every step of the window; ``p_in``: products of counts. Open ports receive zeros.
    """

    def __init__(self, *, shape, initial, bias, time, depth, name=None):
        """Make sums of ``shape``; ``initial`` and ``bias`` broadcast. ``time``: timesteps and period."""
        super().__init__(shape=shape, depth=depth, name=name, **time)
        self.a_in = InPort(shape=shape)
        self.h_in = InPort(shape=shape)
        self.p_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.initial = _var(initial)
        self.bias = _var(bias)
        self.total = _var(np.zeros(shape))


class Pace(AbstractProcess):
    """``s`` = clip(code - count, least, most), which is added to the count; nothing before step ``start``."""

    def __init__(self, *, shape, least, most, start, time, depth, name=None):
        """Make counters of ``shape``, which read the codes that a neuron would say if nothing limited it."""
        super().__init__(shape=shape, start=start, depth=depth, name=name, **time)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.limits = _var([least, most])
        self.count = _var(np.zeros(shape))


class SoFar(AbstractProcess):
    """``s`` = all of ``s_in`` so far + ``floor(min(t, timesteps) h_in / timesteps)``: the counts."""

    def __init__(self, *, shape, time, depth, name=None):
        """Make counts of ``shape``."""
        super().__init__(shape=shape, depth=depth, name=name, **time)
        self.s_in = InPort(shape=shape)
        self.h_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.total = _var(np.zeros(shape))


class Change(AbstractProcess):
    """``s`` = the message less that of the step before: what counts emit."""

    def __init__(self, *, shape, time, depth, name=None):
        """Make differences of ``shape``."""
        super().__init__(shape=shape, depth=depth, name=name, **time)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.total = _var(np.zeros(shape))


class _Timed(PyLoihiProcessModel):
    kept = 0  # nothing is held before the first sample
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def moment(self):
        """Return how many steps of the sample are over with this one."""
        step = self.time_step - 1 - self.proc_params["depth"]
        return step % self.proc_params["period"] + 1  # before the first sample: some step of none

    def even(self, charge):
        """Return what has come of a charge that arrives evenly over the window."""
        window = self.proc_params["timesteps"]
        return np.floor_divide(min(self.moment(), window) * charge, window)

    def shown(self, held):
        """Return codes that are there in the window, also behind it: nothing comes of them there."""
        if self.moment() <= self.proc_params["timesteps"]:
            self.kept = held
        return self.kept


@implements(proc=Charge, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyCharge(_Timed):
    """CPU model of :class:`Charge`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    h_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    p_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    initial: np.ndarray = LavaPyType(np.ndarray, np.int64)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int64)
    total: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Add up one step."""
        arrived = self.a_in.recv().astype(np.int64)
        self.total = arrived if self.moment() == 1 else self.total + arrived
        whole = self.shown(self.h_in.recv().astype(np.int64)) + self.bias
        charge = self.initial + self.total + self.even(whole) + self.p_in.recv()
        self.s_out.send(charge.astype(np.int32))


@implements(proc=Pace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPace(_Timed):
    """CPU model of :class:`Pace`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    limits: np.ndarray = LavaPyType(np.ndarray, np.int64)
    count: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Tell what was not yet told, as far as the pace allows."""
        code = self.s_in.recv().astype(np.int64)
        if self.moment() == 1:
            self.count = np.zeros_like(self.count)
        emitted = np.clip(code - self.count, self.limits[0], self.limits[1])
        if self.moment() <= self.proc_params["start"]:
            emitted = np.zeros_like(emitted)
        self.count = self.count + emitted
        self.s_out.send(emitted.astype(np.int32))


@implements(proc=SoFar, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySoFar(_Timed):
    """CPU model of :class:`SoFar`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    h_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    total: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Count one step."""
        arrived = self.s_in.recv().astype(np.int64)
        self.total = arrived if self.moment() == 1 else self.total + arrived
        count = self.total + self.even(self.shown(self.h_in.recv().astype(np.int64)))
        self.s_out.send(count.astype(np.int32))


@implements(proc=Change, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyChange(_Timed):
    """CPU model of :class:`Change`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    total: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def run_spk(self):
        """Send the difference to the step before."""
        count = self.s_in.recv().astype(np.int64)
        before = np.zeros_like(count) if self.moment() == 1 else self.total
        self.total = count
        self.s_out.send((count - before).astype(np.int32))
