"""JSON Schemas of the documents that sfnc writes and prints: ``sfnc schema NAME``, and ``docs/spec/schemas/``.

What ``docs/spec/files.md`` says in words. Fields that are not required may be missing; fields that are not named may
be added by later versions, so a reader must not mind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ..foundation.declaration import Option, options_of
from ..foundation.options import Options, SiteOptions

Schema = Mapping[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"

NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}
SHA: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    if set(schema) <= {"type", "minimum", "maximum", "pattern"} and isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": schema}


def fields(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with fields that must be there, and some that may."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": sorted(required)}


DIAGNOSTIC = fields({"code": {"type": "string", "pattern": "^SFN[0-9]{3}$"}, "severity": {"enum": ["error", "warning"]},
                     "what": TEXT, "where": TEXT, "fix": TEXT})  # fmt: skip
INPUT = fields({"name": TEXT, "shape": listed(WHOLE), "dtype": TEXT})
HEAD = fields({"nodes": listed(TEXT), "inputs": listed(TEXT), "cut": listed(INPUT), "batch": null(WHOLE),
               "macs": null(COUNT), "numbers": null(COUNT)})  # fmt: skip
TAIL = fields({"nodes": listed(TEXT), "cut": listed(TEXT), "inputs": listed(TEXT),
               "outputs": by_name({"enum": ["stacked", "each"]}), "model_outputs": listed(TEXT)})  # fmt: skip
DATA = fields({"source": TEXT, "sha256": SHA, "samples": COUNT, "seed": COUNT})
OUTPUT = fields(
    {"agreement": null(SHARE)},
    {"sqnr_db": null(NUMBER), "max_error": null(NUMBER), "same_shape": SHARE, "reasons": by_name(TEXT),
     "worst_channel": fields({"channel": COUNT, "sqnr_db": NUMBER}),
     "not_finite": fields({"samples": COUNT, "float": COUNT, "spiking": COUNT})},
)  # fmt: skip
ACCURACY = fields({"n": COUNT, "float_top1": SHARE, "snn_top1": SHARE, "agreement": SHARE}, {"places": COUNT})
NUMBERS = by_name(ANY)
REGRESSION = fields({
    "n": COUNT, "numbers": COUNT, "float_rmse": null(NUMBER), "snn_rmse": null(NUMBER), "float_r2": null(NUMBER),
    "snn_r2": null(NUMBER), "float_rmse_of_each": listed(NUMBER), "snn_rmse_of_each": listed(NUMBER),
}, {"of_outputs": by_name(by_name(NUMBERS)), "against_float": by_name(NUMBERS)})  # fmt: skip
SIDES = ("float", "snn")
CONFUSION = null(listed(listed(COUNT)))
CLASSIFICATION = fields({
    "n": COUNT, "classes": COUNT, "names": listed(TEXT), "agreement": SHARE,
    **{f"{side}_{key}": schema for side in SIDES for key, schema in (
        ("top1", SHARE), ("top5", null(SHARE)), ("confusion", CONFUSION), ("mistakes", listed(listed(COUNT))))},
})  # fmt: skip
OF_BOXES = {key: null(SHARE) for key in ("map50", "map", "recall", "precision")}
DETECTION = fields({
    "n": COUNT, "names": listed(TEXT), "truth": {"enum": ["labels", "the float network's boxes"]},
    "boxes": fields({"float": COUNT, "snn": COUNT, "labels": null(COUNT)}), "shown_from": SHARE,
    "form": by_name(ANY), "against_float": fields(OF_BOXES),
    **{f"{side}_{key}": schema for side in SIDES for key, schema in OF_BOXES.items()},
}, {"lacking": TEXT})  # fmt: skip
OF_MASKS = {"miou": null(SHARE), "pixel_accuracy": null(SHARE), "iou": listed(null(SHARE))}
SEGMENTATION = fields({
    "n": COUNT, "classes": COUNT, "names": listed(TEXT), "against_float": fields(OF_MASKS),
    **{f"{side}_{key}": schema for side in SIDES for key, schema in OF_MASKS.items()},
})  # fmt: skip
TASK = null(fields({"name": TEXT, "chosen_by": TEXT}))
GATE = fields({"gate": TEXT, "value": null(NUMBER), "limit": NUMBER, "passed": FLAG, "said": TEXT})
EXAMPLES = fields({}, {
    "worst": listed(fields({"sample": COUNT, "error": NUMBER, "label": null(WHOLE), "float": null(WHOLE),
                            "spiking": null(WHOLE)})),
    "points": fields({"float": listed(NUMBER), "spiking": listed(NUMBER)}),
})  # fmt: skip
OVER_TIME = fields(
    {"steps": COUNT, "samples": COUNT, "agreement": listed(SHARE), "as_at_the_end": listed(SHARE),
     "at_once": fields({"agreement": SHARE}, {"top1": SHARE}), "margin": null(COUNT)},
    {"top1": listed(SHARE), "answered": listed(COUNT), "mean_steps": NUMBER, "early_agreement": SHARE,
     "early_top1": SHARE},
)  # fmt: skip
EVALUATION = fields(
    {"outputs": by_name(OUTPUT), "on": TEXT, "data": DATA, "warnings": listed(DIAGNOSTIC), "gates": listed(GATE)},
    {
        "accuracy": ACCURACY,
        "regression": REGRESSION,
        "cut": by_name(OUTPUT),
        "time": OVER_TIME,
        "task": TASK,
        "drawn": listed(TEXT),
        "classification": CLASSIFICATION,
        "detection": DETECTION,
        "segmentation": SEGMENTATION,
        "examples": EXAMPLES,
        "custom": fields({"function": TEXT}),
    },
)
FIRST = fields({"layer": TEXT, "index": listed(COUNT), "expected": WHOLE, "got": ANY})
ONE_SIDE = fields({"compared": COUNT, "different": COUNT, "error": null(TEXT)})
READER = fields({"name": TEXT}, {"version": TEXT, "file": TEXT, "samples": COUNT, "layers": COUNT, "compared": COUNT,
                                 "different": COUNT, "error": null(TEXT)})  # fmt: skip
PROVED = fields(
    {"proved": FLAG, "samples": COUNT, "layers": COUNT, "compared": COUNT, "different": COUNT,
     "first_difference": null(FIRST), "mode": null(TEXT), "executed_by": null(TEXT), "readers": listed(READER),
     "notes": listed(TEXT), "reload": null(fields({"digest": null(TEXT), "equal": FLAG, "error": null(TEXT)}))},
    {"error": TEXT, "legal": fields({"made_from": TEXT, "compared": COUNT, "different": COUNT, "error": null(TEXT)}),
     "encoded": ONE_SIDE, "decoded": ONE_SIDE,
     "potentials": fields({"populations": COUNT, "compared": COUNT, "different": COUNT})},
)  # fmt: skip
_COUNTS: Mapping[str, Schema] = {"samples": COUNT, "equal": COUNT, "compared": COUNT, "different": COUNT,
                                 "first": null(TEXT)}  # fmt: skip
PROOF = fields(
    {"sfnc": TEXT, "proved": FLAG, "model": null(TEXT), "program": null(TEXT), "files_changed": listed(TEXT),
     "seed": COUNT, "samples": COUNT, "data": TEXT, "targets": by_name(PROVED)},
    {"golden": fields({"compared": COUNT, "different": COUNT}),
     "time": fields({"timesteps": COUNT, "settle": COUNT, "quiet": COUNT, "last_spike": COUNT, **_COUNTS,
                     "certificate": {"enum": ["quiet", "layer after layer", "none"]}}),
     "against": fields({"build": TEXT, "model": SHA, "same_network": FLAG, **_COUNTS})},
)  # fmt: skip
PARTS = by_name(null(NUMBER))
BISECTION = fields(
    {"limit_db": NUMBER, "output_db": null(NUMBER), "within": FLAG, "layer": null(TEXT), "data": DATA,
     "warnings": listed(DIAGNOSTIC), "layers": listed({**fields({"name": TEXT})}),
     "probes": listed(fields({"spiking": COUNT, "up_to": TEXT, "output_db": null(NUMBER)}))},
    {"origin": listed(TEXT), "cause": TEXT, "try": listed(TEXT), "levels": COUNT, "parts": PARTS},
)  # fmt: skip
ENERGY_ROW = by_name(ANY)
ENERGY = fields({"totals": ENERGY_ROW, "layers": listed(ENERGY_ROW), "prices": by_name(TEXT),
                 "constants": by_name(fields({"value": NUMBER, "unit": TEXT, "source": TEXT})),
                 "left_out": listed(TEXT)})  # fmt: skip
LAYER = fields(
    {"name": TEXT, "kind": TEXT, "origin": listed(TEXT), "shape": listed(WHOLE), "lo": null(WHOLE), "hi": null(WHOLE),
     "levels": null(COUNT), "reason": TEXT, "density": SHARE, "saturation": SHARE, "beyond": SHARE, "unused": SHARE,
     "stated": FLAG, "histogram": listed(COUNT), "events": NUMBER, "spikes": NUMBER, "set_bits": NUMBER,
     "sqnr_db": null(NUMBER), "sqnr_accumulated_db": null(NUMBER), "dead": COUNT, "channels": COUNT, "macs": COUNT,
     "synops": NUMBER, "acc_bits": null(COUNT), "weight_bits": null(COUNT),
     "warnings": listed(fields({"code": TEXT, "value": NUMBER, "limit": NUMBER}))},
    {"values": fields({"low": NUMBER, "width": NUMBER, "counts": listed(COUNT), "below": COUNT, "above": COUNT}),
     "step": listed(NUMBER),
     "activation": null(TEXT), "relation": null(by_name(ANY)), "reasons": by_name(TEXT), "codes": null(listed(WHOLE)),
     "offset": null(NUMBER), "theta_min": null(WHOLE), "theta_max": null(WHOLE), "acc_min": null(WHOLE),
     "acc_max": null(WHOLE), "projections": listed(by_name(ANY)), "products": listed(by_name(ANY)),
     "notes": listed(TEXT)},
)  # fmt: skip
TARGET = {"oneOf": [fields({"files": COUNT, "bytes": COUNT, "populations": COUNT}),
                    fields({"refused": listed(DIAGNOSTIC)})]}  # fmt: skip
COVERAGE = fields({"nodes": COUNT, "mapped": COUNT, "host": COUNT})


GRAPH = fields({"nodes": listed(fields({"name": TEXT, "kind": TEXT, "sources": listed(TEXT)})),
                "outputs": by_name(listed(TEXT))})  # fmt: skip


TIME_OF_REPORT = fields({
    "timesteps": COUNT, "settle": COUNT, "samples": COUNT, "totals": by_name(ANY),
    "layers": listed(fields({"name": TEXT, "least": WHOLE, "most": COUNT, "start": COUNT, "neurons": COUNT,
                             "charge": null(listed(WHOLE))}, {
        "spikes": NUMBER, "spikes_per_step": listed(NUMBER), "events": NUMBER, "taken_back": NUMBER,
        "differ_after_window": SHARE, "differ_at_end": SHARE, "quiet_after": COUNT})),
    "raster": fields({"steps": COUNT, "window": COUNT, "layers": listed(by_name(ANY))}),
})  # fmt: skip


def _report() -> Schema:
    return fields(
        {"coverage": COVERAGE, "host_head": null(HEAD), "host_tail": null(TAIL), "layers": listed(LAYER),
         "attention": listed(by_name(ANY)), "corrections": listed(by_name(ANY)), "totals": by_name(NUMBER),
         "energy": ENERGY, "targets": by_name(TARGET), "outputs": by_name(OUTPUT), "options": options_schema(),
         "kept_aside": fields({"samples": COUNT}, {"agreement": null(SHARE), "sqnr_db": null(NUMBER), "exact": FLAG,
                                                   "reason": TEXT}),
         "measured_on": fields({"samples": COUNT, "data": TEXT}), "warnings": listed(DIAGNOSTIC)},
        {"cut": by_name(OUTPUT), "accuracy": ACCURACY, "search": by_name(ANY), "time": TIME_OF_REPORT,
         "graph": GRAPH, "encoder": listed(TEXT),
         "decoder": listed(TEXT)},
    )  # fmt: skip


def _manifest() -> Schema:
    return fields({
        "format": WHOLE, "files": by_name(SHA), "seal": SHA, "host_head": null(HEAD), "host_tail": null(TAIL),
        "model": fields({"name": TEXT, "sha256": SHA, "inputs": listed(INPUT), "batch": null(WHOLE)}),
        "calibration": fields({"source": TEXT, "sha256": SHA, "samples": COUNT}),
        "versions": by_name(TEXT), "options": options_schema(),
    })  # fmt: skip


def _check() -> Schema:
    return fields({
        "coverage": COVERAGE, "host_head": null(HEAD), "host_tail": null(TAIL),
        "nodes": listed(fields({"node": TEXT, "state": TEXT})), "targets": listed(TEXT),
        "diagnostics": listed(DIAGNOSTIC), "known_at_compile_time": TEXT,
    })  # fmt: skip


def _diff() -> Schema:
    pairs = by_name(listed(ANY))
    layer = fields({"name": TEXT, "in": {"enum": ["both", "a", "b"]}, "changed": listed(TEXT), "compared": COUNT,
                    "different": COUNT})  # fmt: skip
    return fields({
        "a": TEXT, "b": TEXT, "same": FLAG, "model": listed(SHA), "calibration": pairs, "options": pairs,
        "versions": pairs, "files": fields({"network": pairs, "describing": pairs}), "layers": listed(layer),
        "of_layers": COUNT, "compared_on": fields({"samples": COUNT}, {"reason": TEXT}), "totals": pairs,
        "quality": fields({"score": null(by_name(ANY)), "outputs": by_name(by_name(listed(null(NUMBER))))},
                          {"reason": TEXT}),
        "energy": by_name(listed(null(NUMBER))),
    })  # fmt: skip


def options_schema() -> Schema:
    """Return the schema of what is under ``options`` in ``manifest.json`` and ``report.json``."""
    return {**_object(Options), "required": [o.name for o in options_of(Options)]}


def _object(declaring: Any) -> dict[str, Any]:
    own = {o.name: _schema(o) for o in options_of(declaring)}
    return {"type": "object", "properties": own, "additionalProperties": False}


def _schema(o: Option) -> dict[str, Any]:
    """Return the JSON Schema of one option."""
    says: dict[str, Any] = {"description": f"{o.help} {o.note}".strip()}
    if o.multiple:
        entry = get_args(o.kind)[1]
        values = _object(entry) if entry is SiteOptions else ({"type": "string"} if entry is str else {})
        return {**says, "type": "object", "additionalProperties": values}
    if o.scalar is None:
        least = {"minItems": 1} if o.default else {}  # what has something without the option has it with it
        return {**says, "type": "array", "items": {"type": "string"}, **least}
    names = {int: "integer", float: "number", bool: "boolean", str: "string"}
    is_null = o.optional and not o.effect
    says["type"] = [names[o.scalar], "null"] if is_null else names[o.scalar]
    limits = {"minimum": o.lowest, "maximum": o.highest,
              "enum": [*o.choices, *([None] if is_null else [])] if o.choices else None}  # fmt: skip
    return {**says, **{key: limit for key, limit in limits.items() if limit is not None}}


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its name: the name of the file, or of the command that prints it with ``--json``."""
    bodies: dict[str, tuple[str, Schema]] = {
        "manifest": ("manifest.json of a build", _manifest()),
        "report": ("report.json of a build, and `sfnc compile --json`", _report()),
        "eval": ("eval.json, and `sfnc eval --json`", EVALUATION),
        "proof": ("proof.json, and `sfnc verify --json`", PROOF),
        "bisect": ("bisect.json, and `sfnc bisect --json`", BISECTION),
        "check": ("`sfnc check --json`", _check()),
        "diff": ("`sfnc diff --json`", _diff()),
        "options": ("Compile options of sfnc", options_schema()),
        "diagnostics": ("what a command prints to standard error with --json where it fails",
                        fields({"diagnostics": listed(DIAGNOSTIC)})),
    }  # fmt: skip
    return {name: {"$schema": DRAFT, "title": title, **body} for name, (title, body) in bodies.items()}
