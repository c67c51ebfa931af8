"""Printed rows as layers, and small Programs that a chip is asked about."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from sfn_compile.hardware.chip_files import load_chip
from sfn_compile.hardware.demand import Layer, Link, Window
from sfn_compile.hardware.fit import Asked, Fit, fit_program
from sfn_compile.program.network import Conv, Decoding, Dense, Program, Projection
from sfn_compile.testing.builder import Builder

HERE = Path(__file__).parent
CHIPS = {"old": load_chip("loihi2-2023"), "new": load_chip("loihi2")}


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def layer(row: dict[str, str], bits: int) -> Layer:
    """A printed layer; ``bits`` of its weights."""
    c = int(row["out_c"])
    grid = (c, int(row["out_h"] or 1), int(row["out_w"] or 1))
    windows = {
        "dense": lambda: Window("dense", int(row["in_c"]), is_printed=True),
        "conv": lambda: Window("conv", int(row["in_c"]), pair(row["kernel"]), pair(row["stride"]), is_printed=True),
    }
    window = windows[row["kind"]]() if row["kind"] in windows else None
    links = (Link("x", window, bits, 0, 1, False, 0, 0),) if window else ()
    return Layer(row["layer"], (), grid, grid, (0, 1, 2), 1, links, 0, 0, 1, "Uniform")


def pair(text: str) -> tuple[int, int]:
    a, b = text.split("x")
    return int(a), int(b)


def parts(row: dict[str, str]) -> list[int]:
    """The neurons of the cores that a dense row is printed of: of its fullest, or of all where it is a mean."""
    if "mean" not in row["note"]:
        return [int(row["neurons_core"])]
    n, cores = int(row["out_c"]), int(row["cores"])
    each = -(-n // cores)
    return [each] * (n // each) + ([n % each] if n % each else [])


def ended(build: Builder, *values: str) -> Program:
    program = build._program()
    one = np.ones(1)
    return replace(program, outputs=tuple(Decoding(v, v, one, (), program.values()[v].shape) for v in values))


def conv(build: Builder, source: str, out: int, k: int = 3, top: int = 127, **given) -> Projection:
    c = build.info(source).shape[0]
    pads = ((k // 2, k // 2),) * 2
    said = {"strides": (1, 1), "pads": pads, "dilations": (1, 1), **given}
    groups = said.get("groups", 1)
    return Projection(source, Conv(build.weights(out, c // groups, k, k, top=top), **said))


def dense(build: Builder, source: str, out: int, top: int = 127) -> Projection:
    return Projection(source, Dense(build.weights(out, build.info(source).shape[0], top=top)))


def little(kind: str = "pow2", top: int = 63) -> Builder:
    """Two layers that fit everything, with nothing to say but what is said of every network."""
    build = Builder((8,), hi=7)
    build.fire("a", dense(build, "x", 16, top), kind=kind, hi=3)
    build.fire("y", dense(build, "a", 4, top), kind="readout")
    return build


def fitted(program: Program, chip="loihi2", **asked) -> Fit:
    return fit_program(program, load_chip(chip) if isinstance(chip, str) else chip, {}, Asked(**asked))
