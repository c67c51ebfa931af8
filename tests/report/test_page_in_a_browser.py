"""`report.html` in headless Chromium: no console error, offline, tables that sort, nothing wider than the window.

Debian's `chromium` is installed by CI. Where there is none these tests are skipped, visibly; no other test is.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ..commands.cli_helpers import CALIB, DIGITS, TEST, succeeds

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")
LOOKS = f"<script>{(Path(__file__).parent / 'look.js').read_text(encoding='utf-8')}</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of a build with everything that commands leave."""
    out = tmp_path_factory.mktemp("page") / "out"
    succeeds(DIGITS, "--calib", CALIB, "--target", "sim,nir,onnx", "-o", out, "-q")
    succeeds("verify", out, "-q")
    succeeds("bisect", out, "--data", TEST, "-q")
    succeeds("fit", out, "--host-work", "-q")
    succeeds("eval", out, "--data", TEST, "-q", "--max-drop", 5)
    return out / "report.html"


def browse(page: Path, folder: Path, width: int, dark: bool) -> tuple[dict, str]:
    """What the page says of itself, and what the browser logs, at a width."""
    looked = folder / "looked.html"
    looked.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{LOOKS}</body>"), encoding="utf-8")
    colours = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    args = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
            colours, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1200",
            "--virtual-time-budget=4000", "--proxy-server=127.0.0.1:9", looked.as_uri()]  # fmt: skip
    done = subprocess.run(args, capture_output=True, text=True, timeout=120, check=True)
    (said,) = re.findall(r"<title>SAID(.*?)END</title>", done.stdout, re.DOTALL)
    return json.loads(said.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")), done.stderr


@pytest.mark.parametrize(("width", "dark"), [(1000, False), (1600, True)])
def test_it_is_whole_and_nothing_is_logged(width, dark, page, tmp_path):
    said, logged = browse(page, tmp_path, width, dark)
    assert "CONSOLE" not in logged
    assert said["wide"] <= 0
    assert said["hidden"] == 0
    assert said["cut"] == []
    assert (said["images"], said["broken"]) == (12, 0)
    assert {"Accuracy", "Proof", "Errors", "Network", "Layers", "Values and codes", "Spikes"} <= set(said["headings"])


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(page, tmp_path):
    said, _ = browse(page, tmp_path, 1200, False)
    first, rising, falling, again = said["order"]
    assert first == again == [str(i) for i in range(len(first))]
    assert rising == falling[::-1]
    numbers = [999.0 if text == "exact" else float(text) for text in rising]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3


def test_an_error_in_the_page_would_be_seen(page, tmp_path):
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8")
    broken.write_text(text.replace("</main>", "<script>nothing.there()</script></main>"), encoding="utf-8")
    _, logged = browse(broken, tmp_path, 1000, False)
    assert "CONSOLE" in logged
