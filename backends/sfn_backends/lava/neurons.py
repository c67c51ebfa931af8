"""Ladders as records of our neuron processes, and back.

The processes (``artifact/sfnproc``) compute with code of their own, on purpose: they are a witness, and run without us.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.lava.layout import from_lava, to_lava
from sfn_compile.files.program_files import smallest_int
from sfn_compile.program.network import Ladder, Ratio, Readout, RowTable, Table, Uniform

Array = NDArray[Any]
Json = dict[str, Any]
Tensors = dict[str, Array]


def encode(ladder: Ladder, key: str, rank: int) -> tuple[Json, Tensors]:
    """Return the record and the tensors of a ladder on a population of ``rank`` axes."""
    record: Json = {"kind": type(ladder).__name__.lower()}
    if isinstance(ladder, RowTable | Ratio):
        return _encode_rows(ladder, record, key)
    if isinstance(ladder, Uniform):
        record |= {"lo": ladder.lo, "hi": ladder.hi}
        arrays = {"theta": (ladder.theta, 0), "offset": (ladder.offset, 0)}
    elif isinstance(ladder, Table):
        arrays = {"thresholds": (ladder.table, 1), "codes": (ladder.codes, 1)}
    elif isinstance(ladder, Readout):
        arrays = {"offset": (ladder.offset, 0)}
    else:
        assert_never(ladder)
    tensors = {}
    for name, (x, kept) in arrays.items():
        record |= {name: f"{key}_{name}", f"{name}_shape": x.shape}
        tensors[f"{key}_{name}"] = smallest_int(x if name == "codes" else to_lava(x, rank, kept))
    return record, tensors


def _encode_rows(ladder: RowTable | Ratio, record: Json, key: str) -> tuple[Json, Tensors]:
    """Return the record and the tensors of thresholds that follow a row: arrays in the order of a sample."""
    if isinstance(ladder, RowTable):
        record |= {"axis": ladder.axis}
        arrays = {"thresholds": ladder.table, "codes": ladder.codes, "offset": ladder.offset}
    elif isinstance(ladder, Ratio):
        record |= {"lo": ladder.lo, "hi": ladder.hi}
        arrays = {"theta": ladder.theta, "offset": ladder.offset}
    else:
        assert_never(ladder)
    record |= {name: f"{key}_{name}" for name in arrays}
    return record, {f"{key}_{name}": smallest_int(x) for name, x in arrays.items()}


def decode(record: Json, tensors: Tensors, rank: int) -> Ladder:
    """Return the ladder of a record."""
    if record["kind"] == "rowtable":
        table, codes, offset = (np.asarray(tensors[record[k]]) for k in ("thresholds", "codes", "offset"))
        return RowTable(table, codes, offset, record["axis"])
    if record["kind"] == "ratio":
        return Ratio(tensors[record["theta"]], tensors[record["offset"]], record["lo"], record["hi"])

    def array(name: str, kept: int = 0) -> Array:
        return from_lava(tensors[record[name]], rank, tuple(record[f"{name}_shape"]), kept)

    if record["kind"] == "uniform":
        return Uniform(array("theta"), array("offset"), record["lo"], record["hi"])
    if record["kind"] == "table":
        return Table(array("thresholds", 1), np.asarray(tensors[record["codes"]]))
    if record["kind"] != "readout":
        raise ValueError(f"no neuron is called {record['kind']!r}")
    return Readout(array("offset"))
