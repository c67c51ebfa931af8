"""An ONNX graph under construction: nodes in execution order, every constant stored once, every name unique."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
OPSET = 18
IR_VERSION = 8


class Net:
    """Collects nodes and constants. ``scope`` is put in front of the names of tensors that are added."""

    def __init__(self, reserved: Iterable[str]):
        self.taken = set(reserved)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.scope = ""
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant tensor; equal constants share one."""
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.free(f"const{len(self.constants)}")
            self.constants[self._known[key]] = array
        return self._known[key]

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = self.free(f"{self.scope}/{op}")
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def made_by(self, tensor: str) -> str:
        """Return the operator that makes a tensor; nothing for inputs and constants."""
        return next((str(n.op_type) for n in reversed(self.nodes) if tensor in n.output), "")

    def rename(self, tensor: str, name: str) -> str:
        """Give the output of the last node, ``tensor``, the reserved name of the value that it holds."""
        assert list(self.nodes[-1].output) == [tensor]
        self.nodes[-1].output[0] = name
        return name

    def model(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], metadata: dict[str, str]
    ) -> onnx.ModelProto:
        """Return the finished model; its bytes depend on nothing but the network."""
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "sfnc", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="sfnc")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, metadata)
        return model

    def append(self, node: onnx.NodeProto) -> None:
        """Add a node that has more than one output, under names from :meth:`free`."""
        self.nodes.append(node)

    def free(self, name: str) -> str:
        """Return a name that is not in use yet, and reserve it."""
        found, n = name, 1
        while found in self.taken:
            n += 1
            found = f"{name}{n}"
        self.taken.add(found)
        return found
