"""The conformance suite: Programs x edge-case inputs that every back end computes bit for bit.

A third party tests its own back end with::

    from sfn_compile.testing.conformance import CASES, check
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_backend(case, tmp_path): check(MyBackend(), case, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..program.network import (
    ADAPTIVE,
    Normalization,
    Population,
    Program,
)
from ..simulator.edge_inputs import edge_inputs
from ..simulator.run import run_codes
from ..targets import target_options
from ..targets.backend import Backend, RunRequest, RunResult
from ..targets.target_build import build_target
from .builder import Builder as Builder  # for those who make Programs of their own
from .cases import (
    concat,
    conv1d,
    conv_chain,
    conv_shapes,
    gather,
    max_pool_signed,
    max_pool_unsorted,
    mlp,
    mlp_table,
    mlp_table_unsorted,
    moves,
    pad_shortcut,
    pools,
    residual,
    signed_codes,
    take,
    two_digits,
    two_inputs,
    unequal_depth,
    unread_input,
    upsampling,
    wide_sum,
)
from .cases_products import (
    attention,
    layer_norm,
    matmul,
    product_broadcast,
    product_gate,
    product_of_moves,
    product_plus_skip,
    root_mean_square,
    thresholds_that_follow,
    thresholds_that_share,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A named Program of the suite."""

    name: str
    make: Callable[[], Program]

    def __str__(self) -> str:
        return self.name

    @property
    def products(self) -> frozenset[str]:
        """The forms of products that a target needs for it (:attr:`Capabilities.products`), mostly none."""
        return frozenset(type(p.form).__name__ for step in self.make().populations() for p in step.products)

    @property
    def adaptive(self) -> frozenset[str]:
        """The thresholds that a target needs for it (:attr:`Capabilities.adaptive`), mostly none."""
        made = (step if isinstance(step, Normalization) else step.ladder for step in fired(self.make()))
        return frozenset(type(x).__name__ for x in made) & ADAPTIVE


def fired(program: Program) -> list[Population | Normalization]:
    """Return the steps that compute integers of their own, which every target must return."""
    return [step for step in program.steps if isinstance(step, Population | Normalization)]


CASES: tuple[Case, ...] = tuple(
    Case(f.__name__, f)
    for f in (
        mlp, mlp_table, mlp_table_unsorted, signed_codes, conv_chain, conv_shapes, conv1d, pools, max_pool_signed,
        max_pool_unsorted, residual, two_digits, pad_shortcut, concat, moves, gather, take, upsampling,
        wide_sum, unequal_depth, product_gate,
        product_broadcast, product_plus_skip, product_of_moves,
        matmul, thresholds_that_follow, thresholds_that_share, layer_norm, root_mean_square, attention,
    )
)  # fmt: skip


# For back ends that take several inputs; one that takes a single tensor refuses these with SFN402.
SEVERAL_INPUTS: tuple[Case, ...] = tuple(Case(f.__name__, f) for f in (two_inputs, unread_input))


def check(backend: Backend, case: Case, folder: Path, options: Mapping[str, Any] | None = None) -> RunResult:
    """Emit, reload and run one case; raise AssertionError at the first integer that differs from the simulator.

    CompileError is raised where the target refuses it, with SFN901 where its files do not read back as the network.

    ``options``: those of the target, by their own names; the others have their defaults.
    """
    defaults = {o.name: o.default for o in target_options.declared(backend.name)}
    program = build_target(case.make(), backend, {**defaults, **(options or {})}, folder).program
    inputs = edge_inputs(program)
    golden = run_codes(program, inputs, engine="reference")
    result = backend.run(folder, RunRequest(inputs, golden))
    for step in fired(program):
        got = result.values[step.name]
        different = int((got != golden[step.name]).sum())
        assert different == 0, f"{case}: {step.name}: {different} of {got.size} integers differ"
    return result
