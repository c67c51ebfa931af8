"""Which sites get more levels than asked for, since their rounding costs the outputs most, and which in two digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..foundation.options import Options
from ..foundation.samples import part
from ..graph.graph import Graph
from ..graph.macs import macs_of
from ..host.codec import prepare_all
from ..learning.descent import Loss, Teacher, pieces_of, signal_of
from ..learning.sensitivity import Way, allotted, errors_at_outputs
from ..learning.student import Student, learnable
from ..passes.mapping.decisions import Decision, Decisions
from ..passes.mapping.split_digits import Division, base_for, divisible, levels_in_two_digits
from .draft import Draft, Work

SENSED = 32  # samples on which it is found out which sites deserve more levels


def with_more_levels(work: Work, draft: Draft, again: Callable[[Decisions], Draft]) -> Draft:
    """Return the draft with more levels for some sites, made ``again`` under these decisions; the same for none."""
    found = decided(work, draft.graph)
    return _divisible_ones(found, again) if found.sites else draft


def _divisible_ones(decisions: Decisions, again: Callable[[Decisions], Draft]) -> Draft:
    """Return the draft made under decisions: two digits for those sites that can be divided at their new levels.

    Behind a clip they could not if their levels ended above its bound, where other codes would be fired.
    """
    while True:
        draft = again(decisions)
        can, radices = divisible(draft.graph, at_these_levels=True), decisions.radices
        if radices.keys() <= can.keys():
            return draft
        left = {name: own for name, own in decisions.sites.items() if name in can or name not in radices}
        decisions = Decisions(left)


def decided(work: Work, graph: Graph) -> Decisions:
    """Return the sites of a graph with integer weights that get more levels: in one population, and in two.

    A knapsack: the sites whose rounding costs the outputs most within the options' share of the neurons and their share
    of multiply-accumulates. None where sensitivities are not known (:func:`why_none`).
    """
    options = work.options
    if learnable(graph) or not work.statistics:
        return Decisions()
    student = Student(graph)
    neurons = {s.name: int(np.prod(s.type.shape)) for s in student.sites}
    can = divisible(graph)
    radices = {name: _radix(options, division) for name, division in can.items()}
    added = {name: division.macs for name, division in can.items() if radices[name] > 1}
    few, two = allotted(_errors(work, graph, student),
                        Way(neurons, options.share_of_fine * sum(neurons.values())),
                        Way(added, options.share_of_digits * macs_of(graph)))  # fmt: skip
    digits = {name: levels_in_two_digits(options.levels, radices[name]) for name in two}
    more = {name: Decision(options.more_levels) for name in few}
    return Decisions(more | {name: Decision(n, radices[name]) for name, n in digits.items()})


def why_none(graph: Graph) -> str:
    """Return why no site got more levels, for the report."""
    unknown = learnable(graph)
    return f"what {unknown[0]} does to the outputs is not known" if unknown else "no site may have them"


def _errors(work: Work, graph: Graph, student: Student) -> dict[str, float]:
    """Return what the rounding of each site costs the outputs, of those that the user left to the compiler."""
    aside, teacher = prepare_all(graph, part(work.x, slice(SENSED))), Teacher(work.origin)
    loss = Loss(student, teacher, signal_of(teacher, pieces_of(aside)), 0.0)
    errors = errors_at_outputs(loss, aside, work.options.seed)
    return {name: error for name, error in errors.items() if name not in work.options.sites}


def _radix(options: Options, division: Division) -> int:
    """Return the radix of a site in two digits: the fewest bits of whatever reads them decide."""
    bits = (options.at(name).weight_bits for name in division.readers)
    return base_for(options.levels, min(options.weight_bits, *bits))
