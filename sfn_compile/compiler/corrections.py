"""The corrections, as data: what makes the errors of a network with integer weights smaller, in their order.

Each says when it applies, which passes it runs, and what is in its row of the report beside the error of the
outputs before and after it. The driver is :func:`corrected`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..graph.graph import Graph
from ..learning.descent import Recipe
from ..learning.reconstruct import Learnt, Reconstruct
from ..passes.mapping.correct_bias import CorrectBias
from ..passes.mapping.decisions import Decisions
from ..passes.mapping.equalize import Equalize
from ..passes.mapping.quantize_weights import QuantizeWeights
from ..passes.mapping.split_digits import SplitDigits
from .draft import Draft, Work, first_draft
from .gauge import Gauge
from .more_levels import why_none, with_more_levels

Row = dict[str, Any]


@dataclass(frozen=True)
class Correction:
    """One correction. ``run`` returns its draft, the very draft that it was given where it found nothing to do.

    ``says`` returns what its row of the report says of (work, before, after), None for no row; of the very same draft
    no error is measured. ``does`` and ``does_not`` are its words on the terminal, "" for none.
    """

    name: str
    does: str
    does_not: str
    applies: Callable[[Work, Draft], bool]
    run: Callable[[Work, Draft], Draft]
    says: Callable[[Work, Draft, Draft], Row | None]


def corrected(work: Work, gauge: Gauge | None) -> tuple[Graph, list[Row]]:
    """Return the graph with integer weights and corrected biases, and of each correction what it did.

    Without a ``gauge`` nothing is measured and there are no rows.
    """
    draft, rows = first_draft(work), list[Row]()
    error = None if gauge is None else gauge.decibel(draft.graph)
    for one in CORRECTIONS:
        if not one.applies(work, draft):
            continue
        before, draft = draft, one.run(work, draft)
        said = one.says(work, before, draft)
        if gauge is None or said is None:
            continue
        row: Row = {"correction": one.name}
        if draft is not before:
            row["outputs_db_before"], error = error, gauge.decibel(draft.graph)
            row["outputs_db_after"] = error
        rows.append({**row, **said})
    return draft.graph, rows


def _nothing_more(work: Work, before: Draft, after: Draft) -> Row:
    return {}


# -- equalize ---------------------------------------------------------------------------------------------------------
def _equalized(work: Work, draft: Draft) -> Draft:
    chosen = work.run(draft.chosen, Equalize(work.statistics))
    return replace(draft, chosen=chosen, graph=work.run(chosen, QuantizeWeights(work.options)))


# -- correct-bias -----------------------------------------------------------------------------------------------------
def _bias_corrected(work: Work, draft: Draft) -> Draft:
    return replace(draft, graph=work.run(draft.graph, CorrectBias(work.runner, work.x)))


# -- more-levels ------------------------------------------------------------------------------------------------------
def _may_have_more(work: Work, draft: Draft) -> bool:
    return bool(work.options.share_of_fine or work.options.share_of_digits)


def _with_more(work: Work, draft: Draft) -> Draft:
    def again(decisions: Decisions) -> Draft:
        draft = first_draft(work, decisions)
        for one in OF_ANY_LEVELS:
            draft = one.run(work, draft) if one.applies(work, draft) else draft
        return draft

    return with_more_levels(work, draft, again)


def _which_have_more(work: Work, before: Draft, after: Draft) -> Row | None:
    if after is not before:
        return {"sites": sorted(after.decisions.sites)}
    if not (work.options.fine_share or work.options.digit_share):
        return None  # nobody asked for them
    return {"kept": "before", "reason": why_none(before.graph), "sites": []}


# -- two-digits -------------------------------------------------------------------------------------------------------
def _in_digits(work: Work, draft: Draft) -> Draft:
    split = work.run(draft.graph, SplitDigits(draft.decisions.radices))
    again = CorrectBias(work.runner.of(split), work.x, work.origin)
    return replace(draft, graph=work.run(split, QuantizeWeights(work.options), again))


def _which_in_digits(work: Work, before: Draft, after: Draft) -> Row:
    return {"sites": sorted(after.decisions.radices)}


# -- reconstruct ------------------------------------------------------------------------------------------------------
def _learnt(work: Work, draft: Draft) -> Draft:
    options = work.options
    recipe = Recipe(options.epochs, seed=options.seed).at_levels(options.levels)
    learn = Reconstruct(work.origin, options, work.x, recipe, lambda i, n: work.progress("learn", i, n))
    return replace(draft, graph=work.run(draft.graph, learn))


def _what_was_learnt(work: Work, before: Draft, after: Draft) -> Row:
    found = after.graph.fact(Learnt)
    assert found is not None
    return found.row()


# These run after every choice of levels: again if more-levels has chosen others.
OF_ANY_LEVELS: tuple[Correction, ...] = (
    # First: it moves steps, on which everything else is measured.
    Correction("equalize", "steps by cross-layer equalisation", "",
               lambda work, _: work.options.equalize and bool(work.statistics), _equalized, _nothing_more),
    # The mean error of every channel into its bias; it costs nothing.
    Correction("correct-bias", "", "", lambda work, draft: True, _bias_corrected, _nothing_more),
)  # fmt: skip

CORRECTIONS: tuple[Correction, ...] = (
    *OF_ANY_LEVELS,
    # After biases: a mean error is not what more levels are for.
    Correction("more-levels", "more levels, where rounding costs the outputs most", "no site has more levels",
               _may_have_more, _with_more, _which_have_more),
    # After ladders and biases, for which a site in two digits is one site; integers are chosen anew behind it.
    Correction("two-digits", "sites of more levels fired in two digits", "",
               lambda _, draft: bool(draft.decisions.radices), _in_digits, _which_in_digits),
    # Last: integers that are chosen anew would round what was learnt once more.
    Correction("reconstruct", "weights learnt from the float network", "not learnt",
               lambda work, _: work.options.reconstructs and bool(work.statistics), _learnt, _what_was_learnt),
)  # fmt: skip
