# mypy: ignore-errors
"""Products of two messages, which lava-nc lacks: connections with two inputs."""

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
from layout import to_port, to_sample


class Product(AbstractProcess):
    """``a_out = weight * left * right`` of the step before, element by element; all three broadcast to ``shape``.

    Like Lava's own connections it answers one time step later, so it stands beside them in front of a neuron.
    """

    def __init__(self, *, shape, shape_left, shape_right, weight, name=None):
        """Make a product of ``shape`` with an integer array ``weight``."""
        super().__init__(shape=shape, name=name)
        weight = np.asarray(weight, np.int64)
        self.left_in = InPort(shape=shape_left)
        self.right_in = InPort(shape=shape_right)
        self.a_out = OutPort(shape=shape)
        self.weight = Var(shape=weight.shape, init=weight)
        self.a_buff = Var(shape=shape, init=0)


@implements(proc=Product, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyProduct(PyLoihiProcessModel):
    """CPU model of :class:`Product`."""

    left_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    right_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    weight: np.ndarray = LavaPyType(np.ndarray, np.int64)
    a_buff: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self):
        """Send the product of the step before, then multiply the messages of this one."""
        self.a_out.send(self.a_buff)
        left, right = self.left_in.recv().astype(np.int64), self.right_in.recv().astype(np.int64)
        self.a_buff = (self.weight * left * right).astype(np.int32)


class Matmul(AbstractProcess):
    """``a_out = weight * (left @ right)`` of the step before, with matrices in the last two axes of a sample.

    ``left`` (..., i, k) and ``right`` (..., k, j) are shapes of samples, the order in which the matrices are
    multiplied; ``weight`` broadcasts against the sample of the product. The ports have Lava's order of axes.
    """

    def __init__(self, *, left, right, weight, shape_left, shape_right, shape, name=None):
        """Make a matrix product with an integer array ``weight``; the last three are shapes of ports."""
        super().__init__(left=tuple(left), right=tuple(right), name=name)
        weight = np.atleast_1d(np.asarray(weight, np.int64))  # Lava fills no variable without an axis
        self.left_in = InPort(shape=shape_left)
        self.right_in = InPort(shape=shape_right)
        self.a_out = OutPort(shape=shape)
        self.weight = Var(shape=weight.shape, init=weight)
        self.a_buff = Var(shape=shape, init=0)


@implements(proc=Matmul, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyMatmul(PyLoihiProcessModel):
    """CPU model of :class:`Matmul`."""

    left_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    right_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    weight: np.ndarray = LavaPyType(np.ndarray, np.int64)
    a_buff: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self):
        """Send the product of the step before, then multiply the messages of this one."""
        self.a_out.send(self.a_buff)
        left = to_sample(self.left_in.recv(), self.proc_params["left"])
        right = to_sample(self.right_in.recv(), self.proc_params["right"])
        self.a_buff = to_port(self.weight * np.matmul(left, right), self.a_buff.shape)
