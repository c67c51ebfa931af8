"""What a tile of a layer takes on a core: words of Loihi 2's shared memory, or blocks of Loihi 1.

The formulas of :class:`.chip.WordMemory` reproduce what Intel's compiler printed (``tests/hardware/loihi2_rows.csv``);
they were fitted to it. Everything here works on arrays of tiles at once: c, h, w broadcast against one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from .chip import BlockMemory, Memory, WordMemory
from .demand import Layer, Link

Array = NDArray[Any]


@dataclass(frozen=True)
class Readers:
    """Who reads a layer. ``conv``: for each convolution, how many blocks of its channels are on different cores.

    ``flat``: whether somebody reads every neuron by itself: a dense layer, sparse synapses, the outputs.
    ``cores``: cores that a neuron can have to send to.
    """

    conv: tuple[int, ...] = ()
    flat: bool = False
    cores: int = 1


@dataclass(frozen=True)
class Asked:
    """What tiles take, by kind, in units of the core: arrays over tiles. ``fill``: the fullest kind, 1 is full."""

    use: Mapping[str, Array]
    fill: Array

    @property
    def fits(self) -> Array:
        """Whether a tile fits."""
        return self.fill <= 1


def asked(memory: Memory, layer: Layer, tile: tuple[Any, Any, Any], readers: Readers, state: float) -> Asked:
    """Return what tiles ``(c, h, w)`` of a layer take; ``state``: words of a neuron, where the chip has such."""
    if isinstance(memory, WordMemory):
        return _in_words(memory, layer, tile, readers, state)
    if isinstance(memory, BlockMemory):
        return _in_blocks(memory, layer, tile, readers)
    assert_never(memory)


def dense_row(memory: WordMemory, n: Any, bits: int) -> Any:
    """Return the words of one input's weights to ``n`` neurons of a dense layer."""
    width = next((w for w in memory.dense_widths.values if w >= bits), bits)
    return _words(memory, n * (width + memory.dense_index_bits.value) + memory.dense_header_bits.value)


def conv_row(memory: WordMemory, n: Any, bits: int, is_strided: bool) -> Any:
    """Return the words of one tap and input channel of a kernel with ``n`` output channels."""
    width = bits + (memory.conv_strided_bits.value if is_strided else 0)
    return _words(memory, n * width + memory.conv_header_bits.value)


def _words(memory: WordMemory, bits: Any) -> Any:
    return -(-bits // memory.word_bits.value)


def synapse_words(memory: WordMemory, layer: Layer, link: Link, tile: tuple[Any, Any, Any]) -> Any:
    """Return the words of a link's weights on a core that holds a tile of its layer."""
    (c, h, w), window = tile, link.window
    if window.kind == "dense":
        return window.inputs * dense_row(memory, c * h * w * layer.inner, link.bits)
    if window.kind == "sparse":  # a row for every synapse
        return c * h * w * layer.inner * window.inputs * dense_row(memory, 1, link.bits)
    if window.kind == "conv":
        of_group = max(layer.grid[0] // window.groups, 1)
        groups, n = -(-c // of_group), np.minimum(c, of_group)
        return groups * window.taps * window.inputs * conv_row(memory, n, link.bits, window.is_strided)
    assert_never(window.kind)


def kernel_words(memory: WordMemory, layer: Layer, channels: int) -> int:
    """Return the words of all links' weights on a core that holds so many channels, wherever they are."""
    return int(sum(synapse_words(memory, layer, link, (channels, 1, 1)) for link in layer.links))


def spare_words(memory: WordMemory, layer: Layer, tile: tuple[int, int, int]) -> int:
    """Return by how many words the synapses may be more than said: a word a row, of connections without printed rows,
    and of convolutions of 8 bit."""
    unsure = [k for k in layer.links if not k.window.is_printed or (k.kind == "conv" and k.bits >= 8)]
    return sum(_rows(layer, link, tile) for link in unsure)


def _rows(layer: Layer, link: Link, tile: tuple[int, int, int]) -> int:
    c, h, w = tile
    if link.kind == "sparse":
        return c * h * w * layer.inner * link.window.inputs
    groups = -(-c // max(layer.grid[0] // link.window.groups, 1))
    return groups * link.window.taps * link.window.inputs


def _in_words(m: WordMemory, layer: Layer, tile: tuple[Any, Any, Any], readers: Readers, state: float) -> Asked:
    c, h, w = np.broadcast_arrays(*map(np.asarray, tile))
    neurons, places = c * h * w * layer.inner, h * w * layer.inner
    synapses = sum((synapse_words(m, layer, k, (c, h, w)) for k in layer.links), np.zeros_like(neurons))
    of_neuron = max(state, -(-24 * layer.thresholds // m.word_bits.value)) if state > m.state_words.low else state
    use = {
        "synapses": synapses,
        "neurons": neurons,
        "state": np.ceil(neurons * of_neuron).astype(np.int64),
        "axons_in": sum((_axons(layer, k, (c, h, w)) for k in layer.links), np.zeros_like(neurons)),
        "axon_map": places * len(readers.conv) + neurons * readers.flat,
        "axon_memory": places * sum(readers.conv) * m.axon_memory_a_position.value,
        "groups": np.ones_like(neurons),
    }
    total = sum(use[k] for k in ("synapses", "state", "axons_in", "axon_map", "axon_memory", "groups"))
    limits = {"synapses": m.synapse_words, "state": m.neurons, "axons_in": m.axons_in, "axon_map": m.axon_map,
              "axon_memory": m.axon_memory}  # fmt: skip
    fill = np.max([use[k] / limit.value for k, limit in limits.items()] + [total / m.total_words.value], axis=0)
    return Asked({**use, "total": np.asarray(total)}, fill)


def _axons(layer: Layer, link: Link, tile: tuple[Any, Any, Any]) -> Any:
    """Return the input axons of a link: one for a whole map, one for every value that is read by itself."""
    c, h, w = tile
    if link.kind == "conv":
        return np.ones_like(c)
    return link.window.inputs * (np.ones_like(c) if link.kind == "dense" else c * h * w * layer.inner)


def _in_blocks(m: BlockMemory, layer: Layer, tile: tuple[Any, Any, Any], readers: Readers) -> Asked:
    c, h, w = np.broadcast_arrays(*map(np.asarray, tile))
    levels = 1 if layer.ladder == "Readout" else max(layer.hi - layer.lo, 1)
    neurons = c * h * w * layer.inner
    compartments = neurons * levels
    axons, bits = np.zeros_like(neurons), np.zeros_like(neurons)
    for link in layer.links:
        read = _region(layer, link, (c, h, w))  # source neurons
        by_level = layer.ladder == "MaxPool" or layer.is_relay  # each level leads to its own compartments
        planes = link.levels.bit_length() if link.is_input else link.levels if by_level else 1  # lists of each of them
        reached = neurons if by_level else compartments
        fan = -(-reached * link.window.taps * link.window.inputs // np.maximum(read, 1))
        index = 0 if link.kind == "dense" else m.index_bits.value
        row = fan * (m.stored_bits.value + index) + m.header_bits.value * -(-fan // m.word_weights.value)
        bits += read * planes * (-(-row // m.word_bits.value) * m.word_bits.value)
        axons += read * (planes if link.is_input else link.levels)
    use = {"compartments": compartments, "neurons": neurons, "axons_in": axons, "synapse_bits": bits,
           "axons_out": compartments * readers.cores}  # fmt: skip
    limits = {"compartments": m.compartments, "axons_in": m.axons_in, "synapse_bits": m.synapse_bits,
              "axons_out": m.axons_out}  # fmt: skip
    fill = np.max([use[k] / limit.value for k, limit in limits.items()], axis=0)
    return Asked(use, fill)


def _region(layer: Layer, link: Link, tile: tuple[Any, Any, Any]) -> Any:
    """Return how many source neurons a tile reads at most."""
    (c, h, w), window = tile, link.window
    if window.kind == "dense":
        return np.full_like(c, window.inputs)
    if window.kind == "sparse":
        return c * h * w * layer.inner * window.inputs
    groups = -(-c // max(layer.grid[0] // window.groups, 1))
    high, wide = ((n - 1) * s + r for n, s, r in zip((h, w), window.strides, window.reach, strict=True))
    return groups * window.inputs * high * wide * layer.inner
