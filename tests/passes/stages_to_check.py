"""What a type checker has to say of the stages of a Layer; read by test_stages.py, never run.

Every line that must be an error says which one, as mypy itself asks for it.
"""

from sfn_compile.graph.graph import Levels, Node
from sfn_compile.graph.ops import IntegerLayer, IntegerNormal, IntegerSite, Layer, NormalSite, Site
from sfn_compile.graph.ops.stages import with_ladder
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.fold_thresholds import ladder
from sfn_compile.passes.mapping.lower import normalization
from sfn_compile.passes.mapping.quantize_weights import uniform_site
from sfn_compile.passes.mapping.row_forms import normalized, row_table
from sfn_compile.program.network import Ladder


def a_layer_has_no_levels(layer: Layer, site: Site, levels: Levels) -> None:
    site.levels.quantize(levels.step)
    print(layer.levels)  # type: ignore[attr-defined]
    uniform_site(site)
    uniform_site(layer)  # type: ignore[arg-type]


def a_site_has_no_integers(site: Site, integer: IntegerSite, some: IntegerLayer, made: Ladder) -> None:
    integer.integer.alpha.sum()
    print(site.integer)  # type: ignore[attr-defined]
    ladder(some)
    ladder(integer)
    ladder(site)  # type: ignore[arg-type]
    row_table(integer, integer.bias)
    row_table(site, site.bias)  # type: ignore[arg-type]
    with_ladder(integer, made)
    with_ladder(site, made)  # type: ignore[arg-type]


def bias_is_corrected_of_integers(correct: CorrectBias, node: Node, site: Site, layer: Layer) -> None:
    correct._corrected(node, site, None)  # type: ignore[arg-type]
    correct._corrected(node, layer, None)  # type: ignore[arg-type]


def so_it_is_with_normalisations(node: Node, site: NormalSite, integer: IntegerNormal) -> None:
    normalized(site, [], [])
    normalization(node, integer)
    normalization(node, site)  # type: ignore[arg-type]
