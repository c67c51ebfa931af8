"""`report.html`: well-formed, by itself, the same bytes for the same build, with what later commands left."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from sfn_compile.report.page import charts

from ..commands.cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds
from ..frontend.tiny_onnx import noise, saved, tiny

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}
SVG_ALONE = {"line", "circle", "path", "rect", "polyline"}  # always written <.../>


class Page(HTMLParser):
    """Checks that every element is closed where it must be, and gathers links and text."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.links, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "action", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_ALONE | VOID, tag
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(folder) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A build of its own: commands write the page anew, and others share the demo's."""
    folder = tmp_path_factory.mktemp("page") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 120, "-o", folder, "--quiet")
    return folder


def test_compile_writes_a_well_formed_page_that_needs_nothing_else(made):
    found, raw = page(made), (made / "report.html").read_text(encoding="utf-8")
    assert all(link.startswith("#") for link in found.links)  # its own sections
    assert {link[1:] for link in found.links} <= set(re.findall(r'<section id="(\w+)"', raw))
    assert not re.search(r"https?:|//\w|@import|url\(|fetch\(|import\(", raw)
    assert not {"link", "iframe"} & set(found.tags)
    assert found.tags.count("script") == 1
    assert len(raw) < 5_000_000
    assert raw.startswith("<!DOCTYPE html>")


def test_it_is_a_living_file_and_report_makes_the_same_bytes(out):
    before = (out / "report.html").read_bytes()
    assert "report.html" not in document(out / "manifest.json")["files"]
    (out / "report.html").unlink()
    assert succeeds("report", out).stdout == f"wrote {out / 'report.html'}\n"
    assert (out / "report.html").read_bytes() == before


def test_every_layer_and_every_price_is_there(made):
    found, report = page(made).text, document(made / "report.json")
    assert all(row["name"] in found for row in report["layers"])
    assert all(f"{price} " in found for price in ("E1", "E2", "E3", "E4"))
    assert all(c["source"] in found for c in report["energy"]["constants"].values())
    assert "Every number here is an estimate." in found
    assert "top-1" not in found
    assert "Not proved yet" in found


def test_accuracy_proof_and_bisection_are_included_once_they_are_there(out):
    succeeds("eval", out, "--data", TEST, "--samples", 100, "-q")
    succeeds("verify", out, "-q")
    succeeds("bisect", out, "--data", TEST, "-q")
    text = page(out).text
    accuracy = document(out / "eval.json")["accuracy"]
    assert f"{100 * accuracy['snn_top1']:.2f} % top-1" in text
    assert "Proved on 1 of 1 targets" in text
    assert "Next take" not in text
    assert "the outputs stay within 15.0 dB of the float model" in text


def test_a_page_of_a_build_that_was_changed_says_so_and_no_longer_that_it_is_proved(out):
    succeeds("verify", out, "-q")
    assert "Proved on 1 of 1 targets" in page(out).text
    (out / "report.json").write_text("{}")
    refused("SFN506", 1, "verify", out, "-q")
    assert "This build cannot be shown" in page(out).text
    assert "report.json is not the file that compile wrote" in page(out).text
    assert "Proved" not in page(out).text


def test_a_page_written_anew_is_no_change_of_the_build(out):
    succeeds("eval", out, "--data", TEST, "--samples", 100, "-q")
    succeeds("report", out, "-q")
    succeeds("verify", out, "-q")
    assert document(out / "proof.json")["files_changed"] == []


def test_a_refuted_proof_is_not_counted(out):
    row = {"mode": "whole", "different": 0, "samples": 1, "compared": 9, "proved": True}
    targets = {
        "a": row | {"different": 3, "proved": False},
        "b": row,
        "c": row | {"mode": None, "samples": 0, "compared": 0, "error": "not installed", "proved": False},
    }
    program = document(out / "manifest.json")["files"]["program.npz"]
    proof = {"data": "d", "program": program, "proved": False, "files_changed": [], "targets": targets, "samples": 1}
    (out / "proof.json").write_text(json.dumps(proof))
    succeeds("report", out, "-q")
    assert "Proved on 1 of 3 targets" in page(out).text


def test_warnings_of_layers_are_shown_with_their_codes(tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o", "-q", "--site", "relu_3:stretch=0.1")
    row = next(r for r in document(tmp_path / "o" / "report.json")["layers"] if r["name"] == "relu_3")
    assert [w["code"] for w in row["warnings"]] == ["SFN404"]
    assert "SFN404 layer 'relu_3': many values lie beyond the last code" in page(tmp_path / "o").text
    again = sfnc(
        DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o", "--site", "relu_3:stretch=0.1", "--rebuild"
    )
    assert "SFN404 many values lie beyond the last code: relu_3" in again.stdout


def test_corrections_are_shown_with_the_error_before_and_after(made):
    report, text = document(made / "report.json"), page(made).text
    assert report["corrections"]
    for row in report["corrections"]:
        assert f"{row['correction']} {row['outputs_db_before']:.1f} {row['outputs_db_after']:.1f}" in text


def test_names_are_escaped(tmp_path):
    model = tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)", w=noise(4, 3, 3, 3), k=noise(64, 2))
    model.graph.node[0].name = "<script>alert('1 & 2')</script>"
    model.graph.node[1].output[0] = model.graph.node[2].input[0] = '"><b>r'
    succeeds(saved(model, tmp_path), "-o", tmp_path / "o", "-q")
    found = page(tmp_path / "o")
    assert found.tags.count("script") == 1
    assert "b>r" not in found.tags
    assert "<script>alert('1 & 2')</script>" in found.text


def test_a_folder_that_is_no_build_or_lost_its_report(out, tmp_path):
    refused("SFN503", 3, "report", tmp_path)
    (out / "report.json").write_text("[]")
    refused("SFN503", 3, "report", out)


def test_the_terminal_says_estimate_and_all_four_prices(tmp_path):
    text = succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o").stdout
    assert all(word in text for word in ("estimate", "E1 events", "E2 unary spikes", "E3 set bits", "E4 events"))
    assert max(map(len, text.splitlines())) <= 118


# -- charts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("counts", [[5], [0, 0], [7, 0, 1], list(range(256))])
def test_a_histogram_draws_a_bar_for_every_group_that_occurs(counts):
    drawn = charts.histogram(counts, 0)
    groups = len(counts) if len(counts) <= 64 else 64
    size = -(-len(counts) // groups)
    assert drawn.count("M") == sum(any(counts[i : i + size]) for i in range(0, len(counts), size))


def test_a_chart_of_nothing_is_nothing():
    assert charts.errors([{"name": "a", "sqnr_db": None, "sqnr_accumulated_db": None}]) == ""
    assert charts.histogram([], 0) == ""


@pytest.mark.parametrize("name", ["eval", "proof", "bisect"])
@pytest.mark.parametrize("text", ["{", '{"targets": 3}', "[1]", "{}", '{"outputs": {"a": 5}, "data": {}}'])
def test_what_a_later_command_left_is_refused_where_it_is_damaged(name, text, out):
    (out / f"{name}.json").write_text(text)
    refused("SFN503", 3, "report", out)


def test_eval_on_outputs_that_are_places_can_be_shown(tmp_path):
    model = tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) g = Gemm(f, k) y = ArgMax<axis=1>(g)", result="int64",
                 w=noise(4, 3, 3, 3), k=noise(64, 5))  # fmt: skip
    np.savez(tmp_path / "x.npz", x=noise(20, 3, 6, 6))
    succeeds(saved(model, tmp_path), "-o", tmp_path / "o", "-q", "--calib", tmp_path / "x.npz")
    succeeds("eval", tmp_path / "o", "--data", tmp_path / "x.npz", "-q")
    succeeds("report", tmp_path / "o", "-q")
    assert "agreement with float" in page(tmp_path / "o").text
