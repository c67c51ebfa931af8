"""Where the user says that the network starts and ends (``--from``, ``--to``): nodes before it, nodes behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import onnx_ir as ir

from ..foundation.diagnostics import fail
from .context import node_label
from .cut_file import constant
from .inputs import reads

NEAR = 5


def nodes_before(model: ir.Model, names: Sequence[str]) -> list[ir.Node]:
    """Return, in order, the nodes that the named tensors depend on. Raises SFN605 where they are no start.

    The tensors separate the graph: what some output of the model needs beside these nodes reads, of these and of the
    model's inputs, the named alone.
    """
    values = _named(model, names, "--from")
    ahead = _reached(values)
    allowed = {*names}
    for node in _live(model):
        for value in reads(node) if node not in ahead else ():
            made = None if value is None or constant(value) else value.producer()
            if value is None or constant(value) or str(value.name) in allowed or (made and made not in ahead):
                continue
            raise _leaks("--from", names, node, value)
    rest = [node for node in _live(model) if node not in ahead]
    idle = [v for v in values if not any(user in rest for user, _ in v.uses())]
    if idle:
        what = f"--from {','.join(names)}: no layer reads {idle[0].name!r}"
        raise fail("SFN605", what, fix="leave it out, or name what is read instead of it")
    return [node for node in model.graph if node in ahead and node.op_type != "Constant"]


def nodes_behind(model: ir.Model, names: Sequence[str], inputs: Iterable[str]) -> list[ir.Node]:
    """Return, in order, the nodes behind the named tensors. Raises SFN605 where they are no end.

    They are all that is needed for the model's outputs beside what the named tensors depend on; of the network they
    read the named tensors alone. ``inputs`` they may read too: those of the model, and what a head computes.
    """
    values = _named(model, names, "--to")
    own = _reached(values)
    rest = [node for node in _live(model) if node not in own]
    allowed = {*names, *inputs}
    for node in rest:
        for value in reads(node):
            if value is not None and not constant(value) and value.producer() in own and str(value.name) not in allowed:
                raise _leaks("--to", names, node, value)
    idle = [v for v in values if not v.is_graph_output() and not any(user in rest for user, _ in v.uses())]
    if idle:
        what = f"--to {','.join(names)}: nothing behind the network reads {idle[0].name!r}"
        raise fail("SFN605", what, fix="leave it out, or name what is read instead of it")
    return rest


def _named(model: ir.Model, names: Sequence[str], flag: str) -> list[ir.Value]:
    """Return the tensors of these names. Raises SFN605 with names that are near for one that there is not."""
    known = {str(v.name): v for v in _values(model)}
    nodes = {node.name: node for node in model.graph}
    for name in names:
        if name in known and not constant(known[name]):
            continue
        if name in known or name in model.graph.initializers:
            raise fail("SFN605", f"{flag} {name}: it is a constant of the model", fix="name a computed tensor")
        made = [repr(v.name) for v in nodes[name].outputs] if name in nodes else []
        near = [repr(n) for n in get_close_matches(name, known, NEAR, 0.4)]
        hint = f"it is a node, which computes {', '.join(made)}" if made else "there is no such tensor"
        fix = f"near: {', '.join(near)}" if near else f"there are: {', '.join(map(repr, list(known)[:NEAR]))} ..."
        raise fail("SFN605", f"{flag} {name!r}: {hint} (what is constant was folded)", fix=fix)
    return [known[name] for name in names]


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from (v for v in model.graph.inputs if v.name not in model.graph.initializers)
    yield from (v for node in model.graph for v in node.outputs if v.name)


def _reached(values: Iterable[ir.Value]) -> set[ir.Node]:
    """Return the nodes that ``values`` depend on."""
    found: set[ir.Node] = set()
    waiting = [made for v in values if (made := v.producer()) is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [p for v in reads(node) if v is not None and (p := v.producer()) is not None]
    return found


def _live(model: ir.Model) -> list[ir.Node]:
    """Return the nodes that some output of the model depends on, in order."""
    live = _reached(model.graph.outputs)
    return [node for node in model.graph if node in live and node.op_type != "Constant"]


def _leaks(flag: str, names: Sequence[str], node: ir.Node, value: ir.Value) -> Exception:
    what = f"{flag} {','.join(names)} does not cut the model in two: {node_label(node)} reads {value.name!r} past it"
    return fail("SFN605", what, fix=f"name {value.name!r} too, or a tensor through which both ways lead")
