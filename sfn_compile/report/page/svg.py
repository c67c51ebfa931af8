"""SVG as text: elements with short numbers and escaped words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def svg(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return an SVG element that scales with the page; ``label``: what a screen reader says of it."""
    opened = f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return f"{opened}{''.join(parts)}</svg>"


def text(
    x: float, y: float, said: object, anchor: str = "start", kind: str = "", turn: float = 0.0, tip: str = ""
) -> str:
    """Return words at a place; ``turn``: degrees about it; ``tip``: what a pointer shows."""
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    named = f' class="{kind}"' if kind else ""
    inner = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>{escape(str(said))}{inner}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(kind: str, x: float, y: float, width: float, height: float, tip: str = "", shade: float | None = None) -> str:
    """Return a rectangle; ``shade``: how opaque it is."""
    opacity = "" if shade is None else f' fill-opacity="{shade:.2f}"'
    shape = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{opacity}'
    return f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>"


def circle(kind: str, x: float, y: float, radius: float, tip: str = "") -> str:
    """Return a dot."""
    shape = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"'
    return f"{shape}><title>{escape(tip)}</title></circle>" if tip else f"{shape}/>"


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many characters: its end, which tells layers apart."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
