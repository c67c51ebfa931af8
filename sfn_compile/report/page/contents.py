"""The sections of the page, in their order."""

from __future__ import annotations

from .accuracy import ACCURACY
from .bisection import BISECTION
from .distributions import DISTRIBUTIONS, GRAPH, SPIKES
from .energy import ENERGY
from .errors import ERRORS
from .fit import FIT
from .layers import LAYERS
from .made import ATTENTION, CORRECTIONS, MADE
from .over_time import OVER_TIME
from .proof import PROOF
from .section import Section
from .verdict import VERDICT
from .warnings import WARNINGS

SECTIONS: tuple[Section, ...] = (
    VERDICT,
    WARNINGS,
    BISECTION,
    ACCURACY,
    OVER_TIME,
    PROOF,
    ERRORS,
    GRAPH,
    LAYERS,
    DISTRIBUTIONS,
    SPIKES,
    CORRECTIONS,
    ATTENTION,
    ENERGY,
    FIT,
    MADE,
)
