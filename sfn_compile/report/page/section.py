"""What a section of the page is: the documents of a build that it reads, and what its template is given of them.

To add one: a module with a :class:`Section`, a template of the same name in ``templates/``, and a line in
:mod:`.contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

View = Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What is known of a build, as read from its JSON files.

    ``facts``: model, calibration, options and versions as in ``manifest.json``; ``report``: ``report.json``;
    ``later``: what later commands left, by name (``"eval"`` is ``eval.json``), None where a command has not run.
    """

    facts: Mapping[str, Any]
    report: Mapping[str, Any]
    later: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def of(self, command: str) -> Mapping[str, Any] | None:
        """Return what a command left, None where it has not run."""
        return self.later.get(command)


@dataclass(frozen=True)
class Section:
    """One section. ``name``: its anchor, and its template ``templates/NAME.html.j2``; ``title``: its heading and its
    entry in the menu, "" for neither.

    ``view`` returns what the template is given, None where there is nothing to say and the section is left out.
    ``reads``: documents of later commands that it shows; they are read from ``OUT/NAME.json``.
    """

    name: str
    title: str
    view: Callable[[Known], View | None]
    reads: tuple[str, ...] = ()
