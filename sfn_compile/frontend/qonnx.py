"""QONNX models for onnxruntime: every Quant and BipolarQuant as the standard operators it means, in memory.

``Quant`` becomes Div, Add (the zero point), Clip, Round, Sub and Mul in float32, as the QONNX page defines it. The
user's file is never changed; onnxruntime runs the rewritten copy as the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .operators.qonnx import DOMAINS, ROUNDING_MODES

Array = NDArray[Any]


def has_quantisers(model: onnx.ModelProto) -> bool:
    """Return whether a model holds nodes of a QONNX domain."""
    return any(node.domain in DOMAINS for node in model.graph.node)


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same network in standard operators. Quantisers that it cannot say are left for the importer."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    constants = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    opset = max((o.version for o in made.opset_import if o.domain in ("", "ai.onnx")), default=13)
    nodes: list[NodeProto] = []
    for node in made.graph.node:
        quant = node.domain in DOMAINS and all(i in constants for i in node.input[1:])
        nodes.extend(_spelled(node, constants, made.graph.initializer, opset) if quant else [node])
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    if not any(o.domain == "" for o in made.opset_import):
        made.opset_import.append(helper.make_opsetid("", 13))
    return made


def _spelled(node: NodeProto, constants: dict[str, Array], initializers: Any, opset: int) -> list[NodeProto]:
    out, scale = node.output[0], node.input[1]

    def constant(name: str, value: Any) -> str:
        initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{out}/{name}"))
        return f"{out}/{name}"

    if node.op_type == "BipolarQuant":
        zero, one = constant("zero", 0), constant("one", 1)
        return [
            helper.make_node("Less", [node.input[0], zero], [f"{out}/negative"]),
            helper.make_node("Cast", [f"{out}/negative"], [f"{out}/minus"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"{out}/minus", f"{out}/minus"], [f"{out}/twice"]),
            helper.make_node("Sub", [one, f"{out}/twice"], [f"{out}/sign"]),
            helper.make_node("Mul", [f"{out}/sign", scale], [out]),
        ]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    zero = constant("zero", constants[node.input[2]])
    lo, hi = _limits(float(constants[node.input[3]].reshape(-1)[0]), attributes)
    return [
        helper.make_node("Div", [node.input[0], scale], [f"{out}/div"]),
        helper.make_node("Add", [f"{out}/div", zero], [f"{out}/shifted"]),
        helper.make_node("Min", [f"{out}/shifted", constant("hi", hi)], [f"{out}/capped"]),
        helper.make_node("Max", [f"{out}/capped", constant("lo", lo)], [f"{out}/clipped"]),
        *_rounded(attributes, out, constant("magic", 1.5 * 2**23), opset),
        helper.make_node("Sub", [f"{out}/whole", zero], [f"{out}/code"]),
        helper.make_node("Mul", [f"{out}/code", scale], [out]),
    ]


def _limits(bits: float, attributes: dict[str, Any]) -> tuple[float, float]:
    narrow = bool(attributes.get("narrow", 0))
    if attributes.get("signed", 1):
        return -(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1 - narrow


def _rounded(attributes: dict[str, Any], out: str, magic: str, opset: int) -> list[NodeProto]:
    """Return the nodes from ``clipped`` to ``whole``; the rarer modes act on the magnitude.

    Before opset 11 there is no Round: adding and taking away ``magic`` leaves no fraction bits in float32, so the
    hardware's own rounding, half to even, does it.
    """
    mode = attributes.get("rounding_mode", b"ROUND")
    rule = ROUNDING_MODES.get((mode.decode() if isinstance(mode, bytes) else str(mode)).upper(), "half_even")
    clipped, whole = f"{out}/clipped", f"{out}/whole"
    direct = {"half_even": "Round", "floor": "Floor", "ceil": "Ceil"}
    if rule == "half_even" and opset < 11:
        raised = helper.make_node("Add", [clipped, magic], [f"{out}/raised"])
        return [raised, helper.make_node("Sub", [f"{out}/raised", magic], [whole])]
    if rule in direct:
        return [helper.make_node(direct[rule], [clipped], [whole])]
    shift, last = {
        "to_zero": (0.0, "Floor"), "away": (0.0, "Ceil"), "half_away": (0.5, "Floor"), "half_down": (-0.5, "Ceil"),
    }[rule]  # fmt: skip
    return [
        helper.make_node(
            "Constant", [], [f"{out}/shift"], value=numpy_helper.from_array(np.asarray(shift, np.float32))
        ),
        helper.make_node("Abs", [clipped], [f"{out}/size"]),
        helper.make_node("Sign", [clipped], [f"{out}/sign"]),
        helper.make_node("Add", [f"{out}/size", f"{out}/shift"], [f"{out}/moved"]),
        helper.make_node(last, [f"{out}/moved"], [f"{out}/rounded"]),
        helper.make_node("Mul", [f"{out}/rounded", f"{out}/sign"], [whole]),
    ]
