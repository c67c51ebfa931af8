"""The site: Sphinx reads the pages where they are, so that links work on the site and in the repository alike.

    make docs

The source folder is the repository itself; pages of ``docs`` and a few beside it are included. A table of contents may
end in "(every other page of FOLDER)": a new page needs no line of its own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]

from sfn_compile.foundation.version import __version__  # noqa: E402

project, author, copyright = "sfnc", "The sfnc contributors", "the sfnc contributors, Apache-2.0"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
BESIDE = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "models/README.md"]
include_patterns = ["docs/**", *BESIDE]
exclude_patterns = [".*", "out*", "build", "dist", "sfn_compile", "backends", "tests"]
source_suffix = {".md": "markdown"}
highlight_language = "none"
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nitpicky = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"sfnc {__version__}"
html_static_path: list[str] = []
html_copy_source = False

OTHERS = re.compile(r"^\(every other page of (\S+)\)$", re.MULTILINE)


def with_other_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the pages of a folder that a page does not name in place of :data:`OTHERS`."""
    own, lines = ROOT / f"{name}.md", source[0].splitlines()

    def others(found: re.Match[str]) -> str:
        pages = sorted(p for p in (own.parent / found[1]).glob("*.md") if p != own)
        names = (p.relative_to(own.parent).with_suffix("").as_posix() for p in pages)
        return "\n".join(page for page in names if page not in lines)

    source[0] = OTHERS.sub(others, source[0])


def front_page(app: Sphinx, error: Exception | None) -> None:
    """Write ``index.html`` at the top of the site, which leads to the page of :data:`root_doc`."""
    if error is None and app.builder.format == "html":
        to = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        text = f'<!doctype html><title>sfnc</title>{to}<a href="{root_doc}.html">sfnc</a>\n'
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register both."""
    app.connect("source-read", with_other_pages)
    app.connect("build-finished", front_page)
