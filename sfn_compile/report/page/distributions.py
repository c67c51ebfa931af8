"""Every layer's values and codes, the spikes of all, and the network as a picture."""

from __future__ import annotations

from markupsafe import Markup

from .distribution_charts import distribution
from .graph_chart import graph
from .section import Known, Section, View
from .spike_charts import spikes

AT_ONCE = 12  # charts that are open; the others are a click away
MOST = 400  # charts of a page, which stays below 5 MB


def _distributions(known: Known) -> View | None:
    charts = [Markup(one) for row in known.report["layers"] if (one := distribution(row))]
    if not charts:
        return None
    return {"charts": charts[:AT_ONCE], "more": charts[AT_ONCE:MOST], "left_out": max(0, len(charts) - MOST),
            "measured_on": known.report["measured_on"]}  # fmt: skip


def _spikes(known: Known) -> View | None:
    drawn = spikes(known.report["layers"])
    return {"chart": Markup(drawn), "measured_on": known.report["measured_on"]} if drawn else None


def _graph(known: Known) -> View | None:
    drawn = graph(known.report["graph"], known.report["layers"]) if "graph" in known.report else ""
    return {"chart": Markup(drawn)} if drawn else None


DISTRIBUTIONS = Section("distributions", "Values and codes", _distributions)
SPIKES = Section("spikes", "Spikes", _spikes)
GRAPH = Section("graph", "Network", _graph)
