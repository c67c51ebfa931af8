"""The clock of a Program as part of the manifest, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.lava.layout import from_lava, to_lava
from sfn_compile.files.program_files import smallest_int
from sfn_compile.program.clock import Clock, Pace
from sfn_compile.program.network import Program
from sfn_compile.program.signals import kinds_of

Array = NDArray[Any]
Json = dict[str, Any]
Tensors = dict[str, Array]
_PLAIN = ("timesteps", "settle", "presents", "margin")


def describe(program: Program, network: Json, tensors: Tensors) -> tuple[Json, Tensors]:
    """Return manifest and tensors with the clock; as they are where the Program has none.

    ``parts`` of a value: whether it is held, sent, and told as a total.
    """
    clock = program.clock
    if clock is None:
        return network, tensors
    kinds, layers = kinds_of(program), {v["name"]: v for v in network["layers"]}
    for value in (*network["inputs"], *network["layers"]):
        kind = kinds[value["name"]]
        value["parts"] = {"held": kind.held, "sent": kind.sent, "total": kind.total}
    paces: dict[str, Json] = {}
    arrays: Tensors = {}
    for pace in clock.paces:
        key, rank = layers[pace.name]["id"], len(layers[pace.name]["shape"])
        record: Json = {"least": pace.least, "most": pace.most, "start": pace.start}
        for name in ("initial", "bias"):
            array = np.asarray(getattr(pace, name))
            record |= {name: f"{key}_{name}", f"{name}_shape": array.shape}
            arrays[f"{key}_{name}"] = smallest_int(to_lava(array, rank))
        paces[pace.name] = record
    said = {field: getattr(clock, field) for field in _PLAIN} | {"paces": paces, "order": list(paces)}
    return network | {"clock": said}, tensors | arrays


def rebuild(network: Json, tensors: Tensors) -> Clock | None:
    """Return the clock of a manifest, if it has one."""
    said = network.get("clock")
    if said is None:
        return None
    shapes = {v["name"]: v["shape"] for v in network["layers"]}
    paces = []
    for name in said["order"]:
        record = said["paces"][name]
        initial, bias = (
            from_lava(tensors[record[k]], len(shapes[name]), tuple(record[f"{k}_shape"])) for k in ("initial", "bias")
        )
        paces.append(Pace(name, record["least"], record["most"], initial, bias, record["start"]))
    return Clock(said["timesteps"], said["settle"], said["presents"], tuple(paces), said["margin"])


def shown(codes: Array, program: Program) -> Array:
    """Return codes of a sample as the clock takes them: as they are, or all in the first of its frames."""
    if program.frames is None:
        return codes
    return np.pad(codes[:, None], [(0, 0), (0, program.frames - 1), *((0, 0),) * (codes.ndim - 1)])
