"""The options of a compilation: what the user chose, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .diagnostics import fail

METHOD_NAMES = ("mse", "minmax", "percentile", "kl", "sfn", "qcfs", "pmsm", "opi")
GRANULARITIES = ("channel", "tensor")
THRESHOLDS = ("odd", "pow2")
NIR_FORMS = ("binary", "unary", "sar")
ATTENTION_FORMS = ("quotient", "fired")
ENGINES = ("fast", "reference")
BISECT_LIMIT = 15.0  # decibels of the outputs' signal to noise; a network at 31 levels has 20 to 35
FINE_LEVELS, FINE_WEIGHT_BITS = 31, 8  # from here on rounding costs so little that nothing is learnt unasked


def check_choice(samples: int | None, seed: int) -> None:
    """Raise SFN605 where no samples can be chosen like that."""
    if samples is not None and samples < 1:
        raise fail("SFN605", f"--samples {samples}; at least 1 is needed")
    if seed < 0:
        raise fail("SFN605", f"--seed {seed}; it must not be negative")


@dataclass(frozen=True)
class Machine:
    """How the simulator runs; no number in any result depends on it.

    ``threads``: of each process [default: one per core]; ``engine``: ``fast``, or ``reference`` for plain int64;
    ``workers``: processes on this machine; ``cluster``: address of a dask scheduler whose workers are used instead.
    """

    threads: int | None = None
    engine: Literal["fast", "reference"] = "fast"
    workers: int = 1
    cluster: str | None = None

    def check(self) -> Machine:
        """Return self. Raises SFN605 for a value out of range."""
        if self.threads is not None and self.threads < 1:
            raise fail("SFN605", f"--threads {self.threads}; at least 1 is needed")
        if self.workers < 1:
            raise fail("SFN605", f"--workers {self.workers}; at least 1 is needed")
        if self.workers > 1 and self.cluster is not None:
            raise fail("SFN605", "--workers are of this machine, --cluster has its own", fix="leave one of them out")
        return self

    @property
    def spreads(self) -> bool:
        """Whether the work goes to other processes."""
        return self.workers > 1 or self.cluster is not None


ONE_PROCESS = Machine()


@dataclass(frozen=True)
class SiteOptions:
    """What one population has instead of the options of the whole network; None: as the network.

    ``stretch``: factor of the step that the method chose; above 1 makes fewer, larger spikes (AdaFire's compression).
    """

    levels: int | None = None
    weight_bits: int | None = None
    method: str | None = None
    stretch: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the network's options, as JSON."""
        found = {"levels": self.levels, "weight_bits": self.weight_bits, "method": self.method}
        stretch = {} if self.stretch == 1.0 else {"stretch": self.stretch}
        return {**{k: v for k, v in found.items() if v is not None}, **stretch}


@dataclass(frozen=True)
class Options:
    """Compile options with the defaults of the command line; see ``sfnc compile --help``."""

    targets: tuple[str, ...] = ("sim",)
    levels: int = 31
    attention_levels: int = 255
    attention: str = "quotient"
    carry: bool = True
    input_levels: int = 255
    weight_bits: int = 8
    method: str = "mse"
    method_options: Mapping[str, str] = field(default_factory=dict)
    granularity: str = "channel"
    threshold: str = "odd"
    timesteps: int = 1
    samples: int | None = None
    seed: int = 0
    nir_form: str = "binary"
    acc_bits: int = 24
    require_accuracy_drop: float | None = None
    sites: Mapping[str, SiteOptions] = field(default_factory=dict)
    reconstruct: bool | None = None
    epochs: int = 4
    fine_share: float | None = None
    digit_share: float | None = None
    equalize: bool = False

    @property
    def reconstructs(self) -> bool:
        """Whether weights and steps are learnt: as asked, else where levels or weight bits are few."""
        few = self.levels < FINE_LEVELS or self.weight_bits < FINE_WEIGHT_BITS
        return few if self.reconstruct is None else self.reconstruct

    @property
    def share_of_fine(self) -> float:
        """Share of the neurons that may have more levels than asked for, because their rounding costs most."""
        return (0.1 if self.reconstructs else 0.0) if self.fine_share is None else self.fine_share

    @property
    def share_of_digits(self) -> float:
        """Multiply-accumulates that second digits may add, as a share of the network's."""
        return (1.0 if self.reconstructs else 0.0) if self.digit_share is None else self.digit_share

    @property
    def more_levels(self) -> int:
        """The levels of those neurons: steps are an eighth as long, up to 255 levels."""
        return min(8 * (self.levels + 1) - 1, 255)

    def at(self, site: str) -> Options:
        """Return the options of one population, by the name it has in the report."""
        own = self.sites.get(site)
        if own is None:
            return self
        given: dict[str, Any] = {"levels": own.levels, "weight_bits": own.weight_bits, "method": own.method}
        return replace(self, **{k: v for k, v in given.items() if v is not None})

    def stretch(self, site: str) -> float:
        """Return the factor of one population's step."""
        return self.sites[site].stretch if site in self.sites else 1.0

    def check(self) -> Options:
        """Return self. Raises SFN605 for a value out of range."""
        ranges = (
            ("--levels", self.levels, 1, 255),
            ("--attention-levels", self.attention_levels, 1, 255),
            ("--input-levels", self.input_levels, 1, 255),
            ("--weight-bits", self.weight_bits, 2, 8),
            ("--acc-bits", self.acc_bits, 8, 31),
            ("--epochs", self.epochs, 1, 1000),
            ("--fine-share", self.share_of_fine, 0, 1),
            ("--digit-share", self.share_of_digits, 0, 2),
            *_site_ranges(self.sites),
        )
        for name, value, lowest, highest in ranges:
            if not lowest <= value <= highest:
                raise fail("SFN605", f"{name} = {value}; it must lie in {lowest}..{highest}")
        for site, own in self.sites.items():
            if own.method is not None and own.method not in METHOD_NAMES:
                raise fail(
                    "SFN605", f"--site {site}: no method {own.method!r}", fix=f"one of {', '.join(METHOD_NAMES)}"
                )
        if self.timesteps != 1:
            raise fail("SFN605", f"--timesteps {self.timesteps}: only 1 exists", fix="leave the option out")
        check_choice(self.samples, self.seed)
        if self.require_accuracy_drop is not None and math.isnan(self.require_accuracy_drop):
            raise fail("SFN605", "--require-accuracy-drop is not a number")
        words = (
            ("--nir-form", self.nir_form, NIR_FORMS),
            ("--attention", self.attention, ATTENTION_FORMS),
            ("--granularity", self.granularity, GRANULARITIES),
            ("--threshold", self.threshold, THRESHOLDS),
        )
        for name, word, known in words:
            if word not in known:
                raise fail("SFN605", f"{name} {word!r}", fix=f"one of {', '.join(known)}")
        if not self.targets:
            raise fail("SFN605", "--target names no target")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form for the report and the manifest."""
        return {
            "targets": list(self.targets), "levels": self.levels, "attention_levels": self.attention_levels,
            "attention": self.attention, "carry": self.carry,
            "input_levels": self.input_levels,
            "weight_bits": self.weight_bits, "method": self.method, "method_options": dict(self.method_options),
            "granularity": self.granularity, "threshold": self.threshold,
            "timesteps": self.timesteps, "samples": self.samples, "seed": self.seed, "nir_form": self.nir_form,
            "acc_bits": self.acc_bits, "require_accuracy_drop": self.require_accuracy_drop,
            "reconstruct": self.reconstructs, "epochs": self.epochs, "fine_share": self.share_of_fine,
            "digit_share": self.share_of_digits, "equalize": self.equalize,
            "sites": {name: own.as_dict() for name, own in sorted(self.sites.items())},
        }  # fmt: skip


def _site_ranges(sites: Mapping[str, SiteOptions]) -> list[tuple[str, float, float, float]]:
    """Return (what, value, lowest, highest) of every number that a population has of its own."""
    limits = (("levels", 1, 255), ("weight_bits", 2, 8), ("stretch", 0.01, 100))
    return [
        (f"--site {site}: {name.replace('_', '-')}", getattr(own, name), low, high)
        for site, own in sites.items()
        for name, low, high in limits
        if getattr(own, name) is not None
    ]
