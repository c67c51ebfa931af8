"""A Program rewritten, exactly, into the steps that a target can express, and checked against its limits."""

from __future__ import annotations

from ...foundation.diagnostics import CompileError
from ...program.network import MOVES, Program
from ..backend import Capabilities
from .fold_moves import fold_moves
from .limits import check_widths, unsupported
from .narrow_weights import split_weights

__all__ = ["check_widths", "legalize"]


def legalize(program: Program, target: str, capabilities: Capabilities) -> Program:
    """Return an equal Program that uses only what ``capabilities`` names. Raises SFN402, all problems at once."""
    legal = program if capabilities.moves >= MOVES else fold_moves(program, capabilities.weight_bits)
    problems = [d for step in legal.steps for d in unsupported(step, target, capabilities)]
    if problems:
        raise CompileError(problems)
    return split_weights(legal, capabilities.weight_bits)
