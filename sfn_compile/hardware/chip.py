"""What a chip is, as data: every number a :class:`Figure` with its source and how far it is to be trusted.

The files are read by :mod:`.chip_files`; what the fields mean to a user is in ``docs/chips.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# measured: on the chip, by its profiler; printed: by the vendor's compiler; published: in a text; fitted: a formula
# that reproduces printed numbers; inferred: our deduction; proxy: a number of another chip, scaled; recalled: from
# memory, not looked up again.
Confidence = Literal["measured", "printed", "published", "fitted", "inferred", "proxy", "recalled"]


@dataclass(frozen=True)
class Figure:
    """A number, or the range ``low..high`` that it lies in."""

    low: float
    high: float
    source: str
    confidence: Confidence


@dataclass(frozen=True)
class Count:
    """A whole number, 1 or more."""

    value: int
    source: str
    confidence: Confidence


@dataclass(frozen=True)
class Extra(Count):
    """A whole number that may be 0."""


@dataclass(frozen=True)
class Listed:
    """Several whole numbers of one source, ascending."""

    values: tuple[int, ...]
    source: str
    confidence: Confidence


@dataclass(frozen=True)
class Named:
    """Several words of one source."""

    names: tuple[str, ...]
    source: str
    confidence: Confidence


@dataclass(frozen=True)
class Board:
    """A board that carries the chip."""

    name: str
    title: str
    chips: Count


@dataclass(frozen=True)
class Cores:
    """``count``: cores of a chip that a network may use."""

    count: Count


@dataclass(frozen=True)
class WordMemory:
    """Cores with one memory of words that kernels, neurons and axons share; a kernel is stored once per core.

    ``neurons``: of one word each, so many words for all. ``state_words``: words of a neuron.
    ``axon_memory_a_position``: words that a position of a map takes for each channel block of its reader. Rows: a
    dense one has ``header + n * (width + index)`` bits, of a convolution ``header + n * (width + strided)``, where
    ``strided`` counts if both strides are 2.
    """

    word_bits: Count
    total_words: Count
    synapse_words: Count
    neurons: Count
    groups: Count
    state_words: Figure
    axons_in: Count
    axon_map: Count
    axon_memory: Count
    axon_memory_a_position: Extra
    dense_index_bits: Extra
    dense_header_bits: Extra
    dense_widths: Listed
    conv_header_bits: Extra
    conv_strided_bits: Extra


@dataclass(frozen=True)
class BlockMemory:
    """Cores of binary compartments with a list of synapses for every incoming axon: no kernel is shared.

    A neuron of N levels is N compartments, whose N axons share a list. A list takes ``stored_bits`` a weight,
    ``index_bits`` beside it where it is not the whole core, and ``header_bits`` for every ``word_weights`` weights,
    rounded up to ``word_bits``.
    """

    compartments: Count
    axons_in: Count
    axons_out: Count
    synapse_bits: Count
    stored_bits: Count
    index_bits: Extra
    header_bits: Extra
    word_weights: Count
    word_bits: Count


Memory: TypeAlias = WordMemory | BlockMemory


@dataclass(frozen=True)
class Limits:
    """Widths in bits, signs included; ``plain_code_bits``: above it a warning. ``delay``: steps that a connection can
    wait. ``neurons_known``: ladders, and MaxPool, that a core can be programmed for, as far as known."""

    weight_bits: Count
    sum_bits: Count
    code_bits: Count
    plain_code_bits: Count
    delay: Extra
    neurons_known: Named


@dataclass(frozen=True)
class Time:
    """A step lasts ``max(floor, synop * synops + neuron * neurons + event_out * events + barrier)``, of the busiest
    core."""

    floor_us: Figure
    barrier_us: Figure
    synop_ns: Figure
    neuron_ns: Figure
    event_out_ns: Figure


@dataclass(frozen=True)
class Energy:
    """Two prices of a synaptic operation with everything dynamic in them, and the power that a chip always takes."""

    synop_low_pj: Figure
    synop_high_pj: Figure
    static_w: Figure


@dataclass(frozen=True)
class Chip:
    """A chip, its boards and what is known of both; ``board``: the one that was asked for, None for any."""

    name: str
    title: str
    note: str
    cores: Cores
    boards: tuple[Board, ...]
    memory: Memory
    limits: Limits
    time: Time
    energy: Energy
    board: Board | None = None

    @property
    def most_chips(self) -> int:
        """Chips of the board that was asked for, else of the largest."""
        return self.board.chips.value if self.board is not None else max(b.chips.value for b in self.boards)
