"""Draw ``pipeline.svg``, the picture of the README: from an ONNX file to targets that are proved equal."""

from __future__ import annotations

from pathlib import Path

WIDTH, HEIGHT = 960, 300
INK, PALE, ACCENT, LINE = "#1f2937", "#f3f4f6", "#0f766e", "#9ca3af"


def box(x: int, y: int, w: int, h: int, title: str, *lines: str, fill: str = PALE, ink: str = INK) -> str:
    """Return a rounded box with a bold title and smaller lines."""
    middle = x + w // 2
    first = y + (h - 17 * len(lines)) // 2 + 5
    text = [f'<text x="{middle}" y="{first}" font-weight="bold" fill="{ink}" text-anchor="middle">{title}</text>']
    text += [
        f'<text x="{middle}" y="{first + 18 + 17 * i}" font-size="12" fill="{ink}" text-anchor="middle">{line}</text>'
        for i, line in enumerate(lines)
    ]
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{fill}" stroke="{LINE}"/>' + "".join(text)


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """Return an arrow from one point to another."""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" marker-end="url(#end)"/>'


def label(x: int, y: int, text: str, ink: str = INK) -> str:
    """Return a small centred line of text."""
    return f'<text x="{x}" y="{y}" font-size="12" fill="{ink}" text-anchor="middle">{text}</text>'


def picture() -> str:
    """Return the SVG."""
    targets = ("sim: NumPy", "onnx: onnxruntime", "nir: 4 stock readers", "lava: Lava on the CPU")
    rows = [20 + 52 * i for i in range(4)]
    parts = [
        box(10, 70, 150, 60, "model.onnx", "trained, float32"),
        box(10, 150, 150, 60, "calib.npz", "samples, no labels"),
        arrow(160, 100, 212, 118),
        arrow(160, 180, 212, 160),
        box(218, 94, 130, 92, "sfnc compile", "check the import", "choose thresholds", "prove the ranges"),
        arrow(348, 140, 400, 140),
        box(406, 94, 150, 92, "integer network", "codes, weights,", "thresholds; T = 1", "no float inside"),
        *(box(640, y, 170, 40, text) for y, text in zip(rows, targets, strict=True)),
        *(arrow(556, 140, 634, y + 20) for y in rows),
        *(arrow(810, y + 20, 846, 120) for y in rows),
        box(852, 70, 98, 100, "sfnc verify", "the same", "integers in", "every layer", fill=ACCENT, ink="#ffffff"),
        arrow(481, 186, 481, 255),
        '<rect x="218" y="260" width="592" height="32" rx="8" fill="#ffffff" stroke="#9ca3af"/>',
        label(514, 281, "sfnc eval: its accuracy beside that of the float network, under onnxruntime"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="14" role="img" aria-label="From a trained ONNX model to targets that compute the same integers">'
        f'<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="{INK}"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture(), encoding="utf-8")
