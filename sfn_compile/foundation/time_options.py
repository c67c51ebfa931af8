"""The options of a network that runs over several timesteps; meaning: ``docs/spec/time.md``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .declaration import option, options_of
from .diagnostics import fail

NEURONS = ("signed", "burst", "if", "unit", "window")
POTENTIALS = ("half", "zero")
CODINGS = ("constant", "frames")
ONE_UNIT = frozenset({"if", "unit", "window"})  # neurons that emit single units
RETRACTING = frozenset({"signed", "unit"})  # neurons that can take back what they emitted
COUNTING = frozenset({"unit", "window"})  # neurons whose window is as long as their highest code


def read_word(given: Any) -> Any:
    """Return a number as the text that it is on the command line; anything else stays."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


@dataclass(frozen=True)
class TimeOptions:
    """How a network runs over time; the defaults answer at once, in one timestep."""

    # fmt: off
    timesteps: int = option(
        1, "Timesteps in which the input arrives; 1 answers at once.", "time", lowest=1, highest=1024, metavar="T",
        effect="window_steps",
        note="[The same network over time](spec/time.md): weights, thresholds and widths are those of one timestep.")
    neuron: str = option(
        "signed", "What a neuron emits in a step.", "time", choices=NEURONS,
        note="`signed` takes back what was too much: one step without a spike proves that all counts are the codes of "
        "one timestep. `burst`: several spikes, never fewer; `if`: one spike (OPI; with `--initial-potential zero` the "
        "classical conversion). For chips with small spikes: `unit` sends -1, 0 or 1 over as many steps as there are "
        "levels, `window` 0 or 1, layer after layer; both equal one timestep.")
    burst: str | None = option(
        None, "Most units that a neuron emits per step.", "time", metavar="M|none", read=read_word,
        accepts="int | str | None", unset="levels / timesteps, rounded up",
        note="`signed` with 1 is ST-BIF; `none`: no limit, the difference form.")
    initial_potential: str = option(
        "half", "Potential before the first step: half a threshold, or none.", "time", choices=POTENTIALS,
        note="`zero` rounds every count down; it is for `--neuron if` and `burst`.")
    settle: str = option(
        "auto", "Steps without input behind the window.", "time", metavar="auto|proved|S", read=read_word,
        accepts="int | str",
        note="`auto`: until every calibration sample is quiet, and some more, of neurons that can take back; else 0. "
        "`proved`: as many as suffice for every input.")
    input_coding: str = option(
        "constant", "The same input in every step, or a frame per step.", "time", choices=CODINGS,
        note="`frames`: samples of shape (n, T, ...) whose frames add up to what the model takes.")
    exit: str | None = option(
        None, "Answer as soon as the best score leads by a margin.", "time", metavar="margin=auto|M",
        unset="after all steps", note="An integer, chosen on samples kept aside (`auto`) or stated.")
    exit_loss: float = option(
        0.5, "Points of agreement that early answers may cost.", "time", lowest=0, highest=100, metavar="PTS")
    # fmt: on

    @property
    def most_units(self) -> int | None:
        """The stated limit of a burst; None where none is stated or there is to be none."""
        if self.neuron in ONE_UNIT:
            return 1
        return int(self.burst) if self.burst not in (None, "none") else None

    @property
    def margin(self) -> str | None:
        """What the option of early answers says behind ``margin=``: a number, or ``auto``."""
        return None if self.exit is None else self.exit.removeprefix("margin=")

    def check_time(self, window: int, levels: int) -> None:
        """Raise SFN605 for values that do not go together; ``window``: the timesteps; ``levels``: highest code."""
        if window == 1:
            said = [o.flag for o in options_of(TimeOptions) if getattr(self, o.field) != o.default]
            if said:
                raise fail("SFN605", f"{said[0]} without timesteps", fix="say how many: --timesteps 8")
            return
        self._check_words()
        if self.initial_potential == "zero" and self.neuron not in ("if", "burst"):
            what = f"--initial-potential zero rounds down, so counts of --neuron {self.neuron} would not be the codes"
            raise fail("SFN605", what, fix="leave it out, or use --neuron if or burst")
        most = self.most_units
        if self.neuron in ("if", "burst") and most is not None and window * most < levels:
            what = f"{window} steps of at most {most} cannot count to --levels {levels}"
            raise fail("SFN605", f"--neuron {self.neuron}: {what}",
                       fix=f"--levels {window * most}, or --timesteps {-(-levels // most)}")  # fmt: skip

    def _check_words(self) -> None:
        if self.burst is not None and not re.fullmatch(r"none|[1-9]\d{0,5}", self.burst):
            raise fail("SFN605", f"--burst {self.burst!r}; none or a number from 1 is needed")
        if self.burst is not None and self.neuron in ONE_UNIT:
            raise fail("SFN605", f"--burst with --neuron {self.neuron}, which emits single units", fix="leave it out")
        if not re.fullmatch(r"auto|proved|\d{1,6}", self.settle):
            raise fail("SFN605", f"--settle {self.settle!r}; auto, proved or a number of steps is needed")
        if self.neuron == "window" and self.settle != "auto":
            raise fail("SFN605", "--settle with --neuron window, whose layers take a window each", fix="leave it out")
        if self.exit is not None and not re.fullmatch(r"margin=(auto|\d{1,15})", self.exit):
            raise fail("SFN605", f"--exit {self.exit!r}", fix="--exit margin=auto, or --exit margin=M")
