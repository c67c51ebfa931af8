# mypy: ignore-errors
"""Where somebody else's codes enter the network: a port that hands on what it receives, in the same step."""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class Entry(AbstractProcess):
    """Hands on codes of the port ``a_in`` at ``s_out``; connections count from here."""

    def __init__(self, *, shape, name=None):
        """Take codes of ``shape``, the port's."""
        super().__init__(shape=shape, name=name)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


@implements(proc=Entry, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyEntry(PyLoihiProcessModel):
    """CPU model of :class:`Entry`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self):
        """Hand on one step."""
        self.s_out.send(self.a_in.recv().astype(np.int32))
