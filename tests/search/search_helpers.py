"""What the tests of the search share: the demo network, and trials made up of numbers."""

from __future__ import annotations

from pathlib import Path

from sfn_compile.foundation.options import Options
from sfn_compile.search.plan import LOSS, Search
from sfn_compile.search.run import search_model
from sfn_compile.search.trial import Measured, Trial

MODELS = Path(__file__).parents[2] / "models"
DIGITS, CALIB = MODELS / "digits.onnx", MODELS / "digits_calib.npz"
FEW = Options(samples=160)


def searched(search: Search, state: Path, options: Options = FEW):
    """A search on a few samples of the demo network: (compilation, what the report says)."""
    return search_model(DIGITS, options, search, state, CALIB)


def trial(number: int, error: float, spikes: float, loss: float = 0.0, refused: str = "") -> Trial:
    """A trial that was never run."""
    if refused:
        return Trial(number, Options(), Measured(refused=refused))
    costs = {"spikes": spikes, "synops": 10 * spikes, "memory": 1000.0}
    return Trial(number, Options(), Measured({"error": error, "agreement": 1 - error, LOSS: loss}, costs))
