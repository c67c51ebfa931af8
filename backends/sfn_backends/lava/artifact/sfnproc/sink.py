# mypy: ignore-errors
"""A sink that writes an .npy file: reading Lava's own sink back takes 30 us for every single value."""

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class FileSink(AbstractProcess):
    """Writes ``count`` steps to ``path`` as int32 ``(count, *shape)``, after dropping the first ``skip`` steps.

    ``every`` other than 1 records the last of so many steps.
    """

    def __init__(self, *, shape, path, skip, count, every=1, name=None):
        """Record values of ``shape``; ``skip`` is the number of connections in front of it."""
        super().__init__(shape=shape, path=str(path), skip=skip, count=count, every=every, name=name)
        self.a_in = InPort(shape=shape)


@implements(proc=FileSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFileSink(PyLoihiProcessModel):
    """CPU model of :class:`FileSink`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params):
        """Create the file at its full size."""
        super().__init__(proc_params)
        shape = (proc_params["count"], *proc_params["shape"])
        self._out = np.lib.format.open_memmap(proc_params["path"], mode="w+", dtype=np.int32, shape=shape)

    def run_spk(self):
        """Record one step; Lava counts steps from 1."""
        values = self.a_in.recv()
        k, rest = divmod(self.time_step - self.proc_params["skip"], self.proc_params["every"])
        k -= 1
        if rest == 0 and 0 <= k < len(self._out):
            self._out[k] = values
        if rest == 0 and k == len(self._out) - 1:
            self._out.flush()
