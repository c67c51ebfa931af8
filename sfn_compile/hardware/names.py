"""Names of plans; ``sfnc --help`` reads them, so nothing is imported here."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

PlanName: TypeAlias = Literal["vendor", "fewest", "balanced"]
PLANS: tuple[PlanName, ...] = get_args(PlanName)
