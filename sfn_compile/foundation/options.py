"""The options of a compilation: what the user chose, declared and checked once.

Adding an option here is all that it takes to have it on the command line, in Python, in the documents (after
``python docs/generate.py``), in ``manifest.json`` and in the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .declaration import as_json, check_options, option, options_of, read_all, unknown
from .diagnostics import fail
from .option_values import pairs_of, read_input_levels, read_names
from .time_options import COUNTING, TimeOptions

METHOD_NAMES = ("mse", "minmax", "percentile", "kl", "sfn", "qcfs", "pmsm", "opi")
GRANULARITIES = ("channel", "tensor")
THRESHOLDS = ("odd", "pow2")
ATTENTION_FORMS = ("quotient", "fired")
ENGINES = ("fast", "reference")
BISECT_LIMIT = 15.0  # decibels of the outputs' signal to noise; a network at 31 levels has 20 to 35
FINE_LEVELS, FINE_WEIGHT_BITS = 31, 8  # from here on rounding costs so little that nothing is learnt unasked
LEVELS: dict[str, Any] = {"lowest": 1, "highest": 255}
BITS: dict[str, Any] = {"lowest": 2, "highest": 8}


@dataclass(frozen=True)
class Selection:
    """Which of the samples are used."""

    samples: int | None = option(None, "Use this many samples of the data.", "input", lowest=1, unset="all")
    seed: int = option(0, "Chooses those samples.", "input", lowest=0)


def check_choice(samples: int | None, seed: int) -> None:
    """Raise SFN605 where no samples can be chosen like that."""
    check_options(Selection(samples, seed))


@dataclass(frozen=True)
class Machine:
    """How the simulator runs; no number in any result depends on it."""

    threads: int | None = option(None, "Threads of the simulator.", lowest=1, unset="one per core")
    engine: Literal["fast", "reference"] = option(
        "fast", "How the simulator computes; reference is plain int64.", choices=ENGINES
    )
    workers: int = option(1, "Processes that share the work: trials of a search, samples of eval.", "search", lowest=1)
    cluster: str | None = option(
        None, "A dask scheduler, whose workers share the work instead.", "search", metavar="ADDRESS"
    )

    def check(self) -> Machine:
        """Return self. Raises SFN605 for a value out of range."""
        check_options(self)
        if self.workers > 1 and self.cluster is not None:
            raise fail("SFN605", "--workers are of this machine, --cluster has its own", fix="leave one of them out")
        return self

    @property
    def spreads(self) -> bool:
        """Whether other processes share the work."""
        return self.workers > 1 or self.cluster is not None


ONE_PROCESS = Machine()


@dataclass(frozen=True)
class SiteOptions:
    """What one population has instead of the options of the whole network; None: as the network.

    ``stretch``: factor of the step that the method chose; above 1 makes fewer, larger spikes (AdaFire's compression).
    """

    levels: int | None = option(None, "Highest code of the population.", **LEVELS)
    weight_bits: int | None = option(None, "Bits of its weights.", **BITS)
    method: str | None = option(None, "Chooses its thresholds.", choices=METHOD_NAMES)
    stretch: float = option(1.0, "Factor of its step.", lowest=0.01, highest=100)

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the network's options, as JSON."""
        return as_json(self)


def read_sites(given: Iterable[str] | Mapping[str, Any]) -> dict[str, SiteOptions]:
    """Return the options of populations by name, of ``NAME:levels=15,weight-bits=4`` or of mappings. Raises SFN605.

    A name may hold colons itself.
    """
    if isinstance(given, Mapping):
        return {site: own if isinstance(own, SiteOptions) else _site(site, own) for site, own in given.items()}
    found = {}
    for text in given:
        site, _, settings = text.rpartition(":")
        pairs = [one.partition("=") for one in settings.split(",")]
        if not site or not all(eq for _, eq, _ in pairs):
            fix = "write it as NAME:levels=15,weight-bits=4,method=mse,stretch=1.5"
            raise fail("SFN605", f"--site {text!r}", fix=fix)
        found[site] = _site(site, {key.replace("-", "_"): value for key, _, value in pairs})
    return found


def _site(site: str, given: Mapping[str, Any]) -> SiteOptions:
    """Return the options of one population; a text is read as its option has it. Raises SFN605."""
    known = {o.name: o for o in options_of(SiteOptions)}
    for name in given:
        if name not in known:
            raise unknown(name, known, f"option of --site {site}")
    return SiteOptions(**{
        name: known[name].parsed(value, _of_site(site, name)) if isinstance(value, str) else known[name].taken(value)
        for name, value in given.items()
    })  # fmt: skip


def _of_site(site: str, name: str) -> str:
    return f"--site {site}: {name.replace('_', '-')}"


@dataclass(frozen=True)
class Options(TimeOptions, Selection):
    """Compile options with the defaults of the command line; see ``sfnc compile --help`` and ``docs/options.md``."""

    # fmt: off
    levels: int = option(
        31, "Highest code of a population.", "accuracy", **LEVELS,
        note="Codes are 0..N; for a signed value -ceil(N/2)..floor(N/2); for a skewed function (SiLU) the N + 1 codes "
        "that cover its values.")
    attention_levels: int = option(
        255, "Highest code of the factors of attention and of the inputs of normalisation.", "accuracy", **LEVELS,
        note="Queries, keys, values, exponentials of a softmax; values that only normalisations read; normalisations "
        "that a residual connection reads.")
    attention: str = option(
        "quotient", "Divide after the product with the values, or fire attention weights first.", "accuracy",
        choices=ATTENTION_FORMS,
        note="`quotient` divides by the sum of a softmax; `fired` rounds the weights of attention, as SFormer does.")
    carry: bool = option(
        True, "Add populations that represent the rounding error of residual sums.", "accuracy")
    input_levels: int | None = option(
        None, "Highest code of the input.", "accuracy", lowest=1, highest=4095, metavar="auto|1..4095",
        read=read_input_levels, unset="auto", accepts="int | str | None",
        note="`auto`: 255, or fewer if the samples have fewer values on a grid (counts, 8-bit images), which then are "
        "the codes, exactly. Not every target takes more than 255.")
    method: str = option(
        "mse", "Chooses thresholds.", "accuracy", choices=METHOD_NAMES, metavar="METHOD",
        note="[How each is defined here](spec/mapping.md#1-levels-of-a-site).")
    method_options: Mapping[str, str] = option(
        {}, "offset; p (percentile, sfn); lambda, ladder (sfn); reading, polarity (sfn, pmsm).", "accuracy",
        flags=("--method-option",), metavar="KEY=VALUE", read=pairs_of("--method-option"),
        accepts="Mapping[str, object]",
        note="`offset` is added before rounding down, in steps (0.5 without it; 0 rounds down); `ladder=lloyd-max` or "
        "`equal-mass`: levels where values are, as integers on one step; `polarity=two`: N codes on either side of 0.")
    granularity: str = option(
        "channel", "One step per channel, or one per tensor.", "accuracy", choices=GRANULARITIES)
    equalize: bool = option(
        False, "Steps by cross-layer equalisation of weights, instead of --method's.", "accuracy",
        note="For `--granularity tensor`.")
    sites: Mapping[str, SiteOptions] = option(
        {}, "One population's own levels, weight-bits, method, stretch (factor of its step).", "accuracy",
        flags=("--site",), metavar="NAME:KEY=VALUE,...", read=read_sites,
        accepts="Mapping[str, SiteOptions | Mapping[str, object]]")
    reconstruct: bool | None = option(
        None, "Learn weights from the float network.", "accuracy", effect="reconstructs",
        unset="below 31 levels or 8 bits",
        note="Weights and biases, without labels: minutes, and [most of the accuracy at few levels](accuracy.md).")
    epochs: int = option(4, "How often --reconstruct sees every sample.", "accuracy", lowest=1, highest=1000)
    fine_share: float | None = option(
        None, "Share of the neurons that may have more levels.", "accuracy", lowest=0, highest=1,
        effect="share_of_fine", unset="0.1 with --reconstruct, else 0",
        note="Those whose rounding errors cost the outputs most; the report lists them with the reason.")
    digit_share: float | None = option(
        None, "Multiply-accumulates that second digits may add, as a share of the network's.",
        "accuracy", lowest=0, highest=2, effect="share_of_digits", unset="1 with --reconstruct, else 0",
        note="Sites whose rounding errors cost most become [two populations](adr/0040-two-digits.md), none above the "
        "stated levels. Without learning, `--no-reconstruct --fine-share 0.1 --digit-share 1` takes seconds.")
    max_drop: float | None = option(
        None, "Fail if top-1 on the labelled calibration data falls by more points.", "accuracy", metavar="PTS",
        flags=("--max-drop", "--require-accuracy-drop"), former="require_accuracy_drop",
        note="Exit status 1 (SFN502), and no build is written. The same [gate](ci.md#gates) as `sfnc eval --max-drop`.")

    weight_bits: int = option(8, "Bits of a weight, sign included.", "hardware", **BITS)
    acc_bits: int = option(
        24, "Accumulator width that is proved to suffice.", "hardware", lowest=8, highest=31)
    threshold: str = option(
        "odd", "Integer thresholds that are odd, or powers of two: a shift on hardware.", "hardware",
        choices=THRESHOLDS)

    start: tuple[str, ...] = option(
        (), "Tensors of the ONNX graph where the network starts; the host computes what is before them.", "input",
        flags=("--from",), metavar="NAME,...", read=read_names, accepts="str | Sequence[str]",
        unset="at the inputs, or behind what only the host can compute",
        note="Called `start` in Python. `host_head.onnx` holds that part, which may have any operator, layers too.")
    end: tuple[str, ...] = option(
        (), "Tensors of the ONNX graph where the network ends; the host computes what is after them.", "input",
        flags=("--to",), metavar="NAME,...", read=read_names, accepts="str | Sequence[str]",
        unset="at the outputs, or before what only the host can compute",
        note="Called `end` in Python. `host_tail.onnx` holds that part, so `run` and `eval` still give the outputs of "
        "the whole model.")

    targets: tuple[str, ...] = option(
        ("sim",), "Targets, separated by commas (see `sfnc targets`).", "targets", flags=("--target",),
        metavar="NAME,...", read=read_names, accepts="str | Sequence[str]",
        note="`sim`, `onnx`, `nir`, `lava`, or [a back end of yours](howto/add_a_back_end.md).")
    target_options: Mapping[str, Any] = option(
        {}, "An option of one target.", "targets", flags=("--target-option",), metavar="TARGET.NAME=VALUE",
        read=pairs_of("--target-option", "target.name=value"), accepts="Mapping[str, object]")
    # fmt: on

    @property
    def reconstructs(self) -> bool:
        """Whether weights and steps are learnt: as asked, else where levels or weight bits are few."""
        few = self.levels < FINE_LEVELS or self.weight_bits < FINE_WEIGHT_BITS
        return few if self.reconstruct is None else self.reconstruct

    @property
    def most_input_levels(self) -> int:
        """The levels of an input whose values lie on no grid."""
        return 255 if self.input_levels is None else self.input_levels

    @property
    def share_of_fine(self) -> float:
        """Share of the neurons that may have more levels than asked for, because their rounding costs most."""
        unasked = 0.1 if self.reconstructs and not self.few_spikes else 0.0
        return unasked if self.fine_share is None else self.fine_share

    @property
    def share_of_digits(self) -> float:
        """Multiply-accumulates that second digits may add, as a share of the network's."""
        unasked = 1.0 if self.reconstructs and not self.few_spikes else 0.0
        return unasked if self.digit_share is None else self.digit_share

    @property
    def window_steps(self) -> int:
        """The timesteps in which input arrives: as asked, of neurons that count in single units as many as levels."""
        return self.levels if self.timesteps == 1 and self.neuron in COUNTING else self.timesteps

    @property
    def few_spikes(self) -> bool:
        """Whether neurons emit too few spikes for a site with more levels, and take none back for a second digit."""
        return self.window_steps > 1 and self.neuron in ("if", "burst", "window")

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
        check_options(self)
        for site, own in self.sites.items():
            for o in options_of(SiteOptions):
                o.check(getattr(own, o.field), _of_site(site, o.name))
        self.check_time(self.window_steps, self.levels)
        if not self.targets:
            raise fail("SFN605", "--target names no target")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form for the report and the manifest, with what was decided where nothing was said."""
        return {o.name: as_json(getattr(self, o.effect or o.field)) for o in options_of(Options)}

    @staticmethod
    def from_dict(said: Mapping[str, Any]) -> Options:
        """Return the options of a manifest. Raises SFN605 for one that this version does not know."""
        return Options(**read_all(options_of(Options), said))
