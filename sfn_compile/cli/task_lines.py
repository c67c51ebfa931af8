"""Lines for the terminal on a task: both networks beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIDES = (("float", "float network  "), ("snn", "spiking network"))


def task_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``eval.json`` says of its task; what labels gave for classes and targets is said elsewhere."""
    task = found.get("task")
    if task is None:
        return
    yield f"task {task['name']} ({task['chosen_by']})"
    row = found[task["name"]]
    lines = {"classification": _classes, "detection": _boxes, "segmentation": _masks, "regression": _numbers,
             "custom": _own}[task["name"]]  # fmt: skip
    yield from lines(row)
    if "drawn" in found:
        yield f"{len(found['drawn'])} examples drawn"


def _classes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["float_top5"] is not None:
        yield f"top-5: float network {_percent(row['float_top5'])}, spiking network {_percent(row['snn_top5'])}"
    wrong = ", ".join(f"{_name(row, right)} as {_name(row, said)} {n}x" for right, said, n in row["snn_mistakes"][:5])
    if wrong:
        yield f"most frequent mistakes of the spiking network: {wrong}"


def _boxes(row: Mapping[str, Any]) -> Iterator[str]:
    for side, title in SIDES:
        if row[f"{side}_map"] is not None:
            yield f"{title}  {_of_boxes({k: row[f'{side}_{k}'] for k in ('map50', 'map', 'recall', 'precision')})}"
    of = row["boxes"]
    labelled = "" if of["labels"] is None else f", {of['labels']} in the labels"
    counts = f"{of['float']} of the float network, {of['snn']} of the spiking one{labelled}"
    yield f"boxes of a score from {row['shown_from']:g}: {counts}"
    yield f"against the float network's boxes: {_of_boxes(row['against_float'])}"
    if "lacking" in row:
        yield row["lacking"]


def _of_boxes(row: Mapping[str, Any]) -> str:
    return (f"mAP@0.5 {_share(row['map50'])}, mAP@0.5:0.95 {_share(row['map'])}, recall {_percent(row['recall'])}, "
            f"precision {_percent(row['precision'])}")  # fmt: skip


def _masks(row: Mapping[str, Any]) -> Iterator[str]:
    for side, title in SIDES:
        if row[f"{side}_miou"] is not None:
            yield f"{title}  {_of_masks({k: row[f'{side}_{k}'] for k in ('miou', 'pixel_accuracy')})}"
    yield f"against the float network's masks: {_of_masks(row['against_float'])}"


def _of_masks(row: Mapping[str, Any]) -> str:
    return f"mIoU {_share(row['miou'])}, {_percent(row['pixel_accuracy'])} of the positions right"


def _numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for name, sides in row["of_outputs"].items() if len(row["of_outputs"]) > 1 else ():
        for side, title in SIDES:
            yield f"{title}  output {name}: rmse {sides[side]['rmse']:.5g}, R2 {_share(sides[side]['r2'])}"
    for name, found in row["against_float"].items():
        yield f"output {name} against the float network: rmse {found['rmse']:.5g}, R2 {_share(found['r2'])}"


def _own(row: Mapping[str, Any]) -> Iterator[str]:
    for side, title in SIDES:
        numbers = {k.removeprefix(f"{side}_"): v for k, v in row.items() if k.startswith(f"{side}_")}
        yield f"{title}  {', '.join(f'{name} {value:.5g}' for name, value in numbers.items())}"


def _name(row: Mapping[str, Any], klass: int) -> str:
    return row["names"][klass] if klass < len(row["names"]) and row["names"][klass] else str(klass)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
