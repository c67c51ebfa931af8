"""What a design rule found: the layer, the limit and the value, who states the limit, and the option that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..foundation.diagnostics import Diagnostic


@dataclass(frozen=True)
class Finding:
    """One violation, or with a code of a warning, one thing to know. ``value`` and ``limit`` are in ``unit``."""

    rule: str
    code: str
    layer: str
    nodes: tuple[str, ...]
    what: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    source: str = ""
    fix: str = ""

    @property
    def diagnostic(self) -> Diagnostic:
        """The finding as an error or a warning."""
        where = ", ".join(self.nodes) or self.layer
        return Diagnostic(self.code, self.what, where, self.fix)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "rule": self.rule, "code": self.code, "severity": self.diagnostic.severity, "layer": self.layer,
            "nodes": list(self.nodes), "what": self.what, "value": self.value, "limit": self.limit, "unit": self.unit,
            "source": self.source, "fix": self.fix,
        }  # fmt: skip
