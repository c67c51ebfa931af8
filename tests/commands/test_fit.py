"""`sfnc fit` and `compile --hardware`: what they print, write, refuse; exit statuses by the contract."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sfn_compile.files.build_folder import read_json
from sfn_compile.files.sealed import problems, read_manifest
from sfn_compile.report.page.document import write_page

from .cli_helpers import CALIB, DIGITS, document, refused, sfnc, succeeds

TINY = """format = 1
extends = "loihi2"
name = "tiny"
title = "Tiny"
[cores]
count = { value = 1, source = "made up", confidence = "inferred" }
[[boards]]
name = "one"
title = "One"
chips = { value = 1, source = "made up", confidence = "inferred" }
[memory]
neurons = { value = 16, source = "made up", confidence = "inferred" }
"""


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    return tmp_path / "tiny.toml"


def test_the_answer_is_printed_and_written(out):
    done = succeeds("fit", out, "--hardware", "loihi2", "--host-work")
    assert "fits Intel Loihi 2, as far as is known" in done.output
    assert "Nothing here was run on Loihi hardware" in done.output
    assert done.output.count("vendor,") == 4  # one and three words a neuron, cores and times
    assert "SFN413" in done.stderr
    found = document(out / "fit.json")
    assert found["fits"]
    assert {r["split"] for r in found["cores"]} == {"vendor", "fewest", "balanced"}
    assert not problems(out, read_manifest(out))  # a living file


def test_json_is_the_file(out):
    done = succeeds("fit", out, "--hardware", "loihi2:oheo-gulch", "--split", "balanced", "--host-work", "--json")
    assert json.loads(done.stdout) == document(out / "fit.json")
    assert document(out / "fit.json")["shown"]["split"] == "balanced"
    assert document(out / "fit.json")["chip"]["board"] == "oheo-gulch"


def test_csv_has_a_line_for_every_core(out):
    done = succeeds("fit", out, "--csv", "--host-work", "--state-words", 3)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    found = document(out / "fit.json")
    assert len(rows) == sum(layer["cores"] for layer in found["layers"])
    assert {"core", "chip", "layer", "tile", "neurons", "synapses", "axons_in", "total", "percent"} <= set(rows[0])
    assert all(int(r["state"]) == 3 * int(r["neurons"]) for r in rows)


def test_the_page_shows_the_cores(out):
    succeeds("fit", out, "--host-work", "--quiet")
    page = (out / "report.html").read_text(encoding="utf-8")
    cores = read_json(out / "fit.json")["core_map"]
    assert page.count("<rect x=") == 2 * len(cores)
    assert "Would it fit a chip?" in page
    assert write_page(out).read_text(encoding="utf-8") == page


def test_the_page_says_how_many_cores_it_does_not_draw(out, monkeypatch):
    from sfn_compile.report.page import core_map, fit

    monkeypatch.setattr(core_map, "MOST_CORES", 1)
    monkeypatch.setattr(fit, "MOST_CORES", 1)
    succeeds("fit", out, "--host-work", "--quiet")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<rect x=") == 2
    assert f"{len(read_json(out / 'fit.json')['core_map']) - 1} more cores are not drawn" in page


def test_what_does_not_fit_is_refused_and_still_told(out, tiny):
    said = refused("SFN410", 4, "fit", out, "--hardware", tiny)
    assert "cores at least, the largest board has 1" in said
    assert not document(out / "fit.json")["fits"]


def test_compile_refuses_what_can_never_fit_and_leaves_nothing(tmp_path, tiny):
    small = ("compile", DIGITS, "--calib", CALIB, "--samples", 20, "--quiet", "-o", tmp_path / "out", "--host-work")
    said = refused("SFN410", 4, *small, "--hardware", tiny)
    assert "cores at least" in said
    assert not (tmp_path / "out").exists()
    succeeds(*small, "--hardware", "loihi2")
    assert document(tmp_path / "out" / "fit.json")["fits"]
    assert "Would it fit a chip?" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not problems(tmp_path / "out", read_manifest(tmp_path / "out"))


def test_a_max_pool_is_refused_by_name_and_the_rest_is_still_told(out):
    said = refused("SFN411", 4, "fit", out, "--quiet")
    assert "max pooling" in said
    assert "--host-work" in said
    assert document(out / "fit.json")["core_map"]


@pytest.mark.parametrize(("chip", "code", "status"), [("loihi3", "SFN605", 2), ("no.toml", "SFN605", 2)])
def test_a_chip_that_is_not_there(out, chip, code, status):
    refused(code, status, "fit", out, "--hardware", chip)
    assert not (out / "fit.json").exists()


def test_a_wrong_file_names_its_key(out, tiny):
    tiny.write_text(TINY.replace("value = 16", "value = -1"), encoding="utf-8")
    assert "memory.neurons" in refused("SFN409", 3, "fit", out, "--hardware", tiny)


def test_a_build_that_was_changed(out):
    (out / "report.json").write_text("{}", encoding="utf-8")
    refused("SFN503", 3, "fit", out)


def test_a_chip_is_wrong_before_anything_is_compiled(tmp_path):
    assert sfnc("compile", DIGITS, "--hardware", "loihi3", "-o", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()
