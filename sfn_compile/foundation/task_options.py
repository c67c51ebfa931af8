"""The options of what a network's answers are and how they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .declaration import check_options, option
from .diagnostics import fail
from .option_values import pairs_of, read_path

TASKS = ("classification", "detection", "segmentation", "regression")


def read_boxes(given: Any) -> dict[str, str]:
    """Return ``KEY=VALUE,KEY=VALUE`` (a text, or several of them) as a mapping. Raises SFN605.

    >>> read_boxes("format=cxcywh,unit=relative"), read_boxes(("iou=0.5",))
    ({'format': 'cxcywh', 'unit': 'relative'}, {'iou': '0.5'})
    """
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    texts = (given,) if isinstance(given, str) else tuple(given)
    return pairs_of("--boxes")([part for text in texts for part in text.split(",") if part])


@dataclass(frozen=True)
class TaskOptions:
    """Which task a network has and where its labels are; without anything it is told from outputs and labels."""

    # fmt: off
    task: str | None = option(
        None, f"What the answers are: {', '.join(TASKS)}, or module:function.", metavar="TASK",
        unset="told from the outputs and the labels")
    labels: Path | None = option(
        None, "Labels beside the data: COCO's .json of boxes, or a folder of masks.", metavar="PATH", read=read_path,
        accepts="str | Path | None")
    boxes: Mapping[str, str] = option(
        {}, "How outputs are read as boxes, e.g. format=cxcywh,unit=relative.", metavar="KEY=VALUE,...",
        read=read_boxes, accepts="str | Mapping[str, object]")
    shown: float = option(0.3, "Score from which a box is said: for recall, precision and drawings.", lowest=0,
                          highest=1)
    draw: Path | None = option(
        None, "Draw examples into this folder, the float network beside the spiking one.", metavar="FOLDER",
        read=read_path, accepts="str | Path | None")
    examples: int = option(8, "How many examples are drawn.", lowest=1, highest=1000)
    # fmt: on

    def check(self) -> TaskOptions:
        """Return self. Raises SFN605 for a value that is not accepted."""
        check_options(self)
        if self.task is not None and self.task not in TASKS and ":" not in self.task:
            raise fail("SFN605", f"--task {self.task!r}", fix=f"one of {', '.join(TASKS)}, or module:function")
        if self.labels is not None and not self.labels.exists():
            raise fail("SFN605", f"--labels {self.labels}: there is no such file or folder")
        return self


NO_TASK = TaskOptions()
