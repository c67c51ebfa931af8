"""How one layer is cut into tiles, a tile a core: as the vendor's compiler does, as few as possible, as fast as asked.

A tile is ``(c, h, w)`` of the layer's grid; those at the ends are smaller. Vendor's rule: read off the logs of Intel's
compiler, 33 of 34 printed core counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip import Memory, WordMemory
from .demand import Grid, Layer
from .memory import Asked, Readers, asked, kernel_words

Array = NDArray[Any]


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size, and what the fullest takes; ``fill`` above 1: it does not fit."""

    tile: Grid
    blocks: Grid  # tiles along each axis of the grid
    use: dict[str, int]
    fill: float

    @property
    def cores(self) -> int:
        """How many cores hold the layer."""
        c, h, w = self.blocks
        return c * h * w


@dataclass(frozen=True)
class Choices:
    """All tilings of a layer that fit, as arrays, by ascending number of cores."""

    tiles: Array  # (n, 3)
    cores: Array
    share: Array  # of the layer's neurons on its fullest core

    def fewest(self) -> Grid | None:
        """Return the tile with the fewest cores, None where none fits."""
        return _tile(self.tiles[0]) if len(self.tiles) else None

    def at_most(self, share: float) -> tuple[Grid, int] | None:
        """Return the tile with the fewest cores of which none has more than a share of the layer, and their number."""
        found = np.flatnonzero(self.share <= share)
        return (_tile(self.tiles[found[0]]), int(self.cores[found[0]])) if found.size else None


def tiling_of(memory: Memory, layer: Layer, tile: Grid, readers: Readers, state: float) -> Tiling:
    """Return the tiling of a layer by tiles of one size."""
    found = asked(memory, layer, tile, readers, state)
    c, h, w = (-(-whole // part) for whole, part in zip(layer.grid, tile, strict=True))
    return Tiling(tile, (c, h, w), {k: int(v) for k, v in found.use.items()}, float(found.fill))


def choices_of(memory: Memory, layer: Layer, readers: Readers, state: float) -> Choices:
    """Return every tiling that fits, the best first: fewest cores, then the least work on the fullest."""
    sizes = [np.array(_sizes(n)) for n in layer.grid]
    tiles = np.stack(np.meshgrid(*sizes, indexing="ij"), -1).reshape(-1, 3)
    found: Asked = asked(memory, layer, (tiles[:, 0], tiles[:, 1], tiles[:, 2]), readers, state)
    tiles = tiles[found.fits]
    cores = np.prod(-(-np.array(layer.grid) // tiles), axis=1)
    share = np.prod(tiles, axis=1) / max(np.prod(layer.grid), 1)
    order = np.lexsort((share, cores))
    return Choices(tiles[order], cores[order], share[order])


@cache
def _sizes(n: int) -> tuple[int, ...]:
    """Return the sizes of the parts of n, cut into 1, 2, 3, ... parts of equal size but the last."""
    return tuple(sorted({-(-n // k) for k in range(1, n + 1)}))


def vendor_tile(memory: Memory, layer: Layer, readers: Readers, state: float) -> Grid | None:
    """Return the tile that Intel's compiler would take, None where none fits."""
    if not isinstance(memory, WordMemory):  # no other rule is known
        return choices_of(memory, layer, readers, state).fewest()
    if layer.grid[1:] == (1, 1):
        return _dense_tile(memory, layer, readers, state)
    return _map_tile(memory, layer, readers, state)


def _dense_tile(memory: WordMemory, layer: Layer, readers: Readers, state: float) -> Grid | None:
    """Return the neurons of a core: as many cores as the whole need divided by the limit, doubled until that fits."""
    n = layer.grid[0]
    parts = max(-(-kernel_words(memory, layer, n) // memory.synapse_words.value), 1)
    while True:
        tile = (-(-n // parts), 1, 1)
        if asked(memory, layer, tile, readers, state).fits:
            return tile
        if tile[0] == 1:
            return None
        parts *= 2


def _map_tile(memory: WordMemory, layer: Layer, readers: Readers, state: float) -> Grid | None:
    """Return the tile of a map: channels halved until the kernel fits, then width a power of two and height halved.

    Where no tile fits with these channels, because all words of a core are taken, they are halved once more.
    """
    channels, height, width = layer.grid
    c = channels
    while c > 1 and kernel_words(memory, layer, c) > memory.synapse_words.value:
        c = -(-c // 2)
    wide, high = np.meshgrid(_powers(width), _halves(height), indexing="ij")
    while True:
        fits = asked(memory, layer, (np.full(wide.shape, c), high, wide), readers, state).fits
        if fits.any():
            cores = np.where(fits, -(-width // wide) * -(-height // high), np.iinfo(np.int64).max)
            at = np.unravel_index(int(np.argmin(cores)), cores.shape)
            return c, int(high[at]), int(min(wide[at], width))
        if c == 1:
            return None
        c = -(-c // 2)


def _powers(n: int) -> list[int]:
    """Return the powers of two up to the first that is not below n."""
    return [1 << k for k in range((n - 1).bit_length() + 1)]


def _halves(n: int) -> list[int]:
    found = [n]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found


def _tile(row: Array) -> Grid:
    c, h, w = (int(v) for v in row)
    return c, h, w
