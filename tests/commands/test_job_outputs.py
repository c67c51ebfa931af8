"""JUnit and Markdown: a case per check, whatever the command ended in; the files they must not be written over."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from sfn_compile.foundation.diagnostics import Diagnostic
from sfn_compile.report.job_summary import Check, checks_of, junit, markdown

from .cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds


def cases(path) -> dict[str, tuple[str, str]]:
    """The test cases of a JUnit file: by name (how it ended, what is said)."""
    root = ElementTree.parse(path).getroot()
    (suite,) = root
    found = {}
    for case in suite:
        kinds = [child for child in case if child.tag in ("failure", "error")]
        said = kinds[0].get("message") if kinds else "".join(t.text or "" for t in case)
        found[case.get("name")] = (kinds[0].tag if kinds else "passed", said)
    ends = [how for how, _ in found.values()]
    for counted in (root, suite):
        assert [int(counted.get(k)) for k in ("tests", "failures", "errors")] == [
            len(ends), ends.count("failure"), ends.count("error")]  # fmt: skip
    return found


def test_eval_has_a_case_per_gate(out, tmp_path):
    file = tmp_path / "reports" / "junit.xml"
    done = sfnc("eval", out, "--data", TEST, "--samples", 60, "--min-sqnr", 5, "--max-drop", -1, "--min-map", 1,
                "--junit", file)  # fmt: skip
    assert done.exit_code == 1
    ends = {name: how for name, (how, _) in cases(file).items()}
    assert ends == {"--min-sqnr": "passed", "--max-drop": "failure", "--min-map": "error"}
    succeeds("eval", out, "--data", TEST, "--samples", 60, "--junit", file)
    assert list(cases(file)) == ["eval"]


def test_verify_has_a_case_per_target_and_one_for_the_files(out, tmp_path):
    file = tmp_path / "j.xml"
    succeeds("verify", out, "--junit", file)
    assert {name: how for name, (how, _) in cases(file).items()} == {"sealed files": "passed", "target sim": "passed"}
    (out / "sim" / "program.npz").write_bytes(b"")
    assert sfnc("verify", out, "--junit", file).exit_code == 1
    found = cases(file)
    assert found["sealed files"] == ("failure", "sim/program.npz")
    assert found["target sim"][0] == "error"
    assert len(found) == 2


def test_a_command_that_ends_before_it_finds_anything_is_an_error(tmp_path):
    file = tmp_path / "j.xml"
    refused("SFN503", 3, "eval", tmp_path / "none", "--data", TEST, "--junit", file)
    ((name, (how, said)),) = cases(file).items()
    assert name.startswith("SFN503")
    assert (how, said) == ("error", "there is no manifest.json")


def test_compile_has_a_case_per_target_and_fails_with_its_gate(tmp_path):
    args = (DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o", "--junit", tmp_path / "j.xml")
    assert "target sim" in succeeds(*args, "--markdown").stdout
    assert cases(tmp_path / "j.xml") == {"target sim": ("passed", "")}
    refused("SFN502", 1, *args, "--max-drop", -1)
    ((name, (how, _)),) = cases(tmp_path / "j.xml").items()
    assert name.startswith("SFN502")
    assert how == "failure"


def test_markdown_says_the_result_and_a_row_per_check(out):
    done = sfnc("eval", out, "--data", TEST, "--samples", 60, "--min-sqnr", 99, "--min-agreement", 0.5, "--markdown")
    assert done.exit_code == 1
    title, _, result, *rest = done.stdout.splitlines()
    assert title == "### ❌ sfnc eval out"
    assert result.startswith("FAILED: 1 of 2 gates passed; top-1 ")
    assert sum(line.startswith("| **FAIL** | --min-sqnr |") for line in rest) == 1
    assert sum(line.startswith("| pass | --min-agreement |") for line in rest) == 1
    assert succeeds("verify", out, "--markdown").stdout.startswith("### ✅ sfnc verify out\n\nproved: 1 of 1 targets")
    assert sfnc("verify", out, "--markdown", "--json").exit_code == 2


@pytest.mark.parametrize("odd", ["a | b <i>", 'x" & \x01 <'])
def test_text_is_escaped(odd):
    checks = [Check(odd, False, odd)]
    (case,) = ElementTree.fromstring(junit("eval", odd, checks, 0.0).encode()).iter("testcase")
    assert case.get("name") == odd.replace("\x01", "?")
    (row,) = (line for line in markdown("eval", "o", None, checks).splitlines() if "FAIL" in line)
    assert row.replace("\\|", "").count("|") == 4
    assert "<" not in row


def test_a_problem_that_a_check_tells_is_not_counted_twice():
    found = {"gates": [{"gate": "--max-drop", "passed": False, "value": 3.0, "said": "fell"}]}
    told = Diagnostic("SFN502", "--max-drop: fell", "d.npz")
    other = Diagnostic("SFN602", "disk full", "o")
    warning = Diagnostic("SFN311", "unlike", "d.npz")
    assert [c.name for c in checks_of("eval", found, [told, other, warning])] == ["--max-drop", "SFN602 o"]


def test_no_file_of_a_build_and_no_data_is_written_over(out, tmp_path):
    before = (out / "report.json").read_bytes()
    refused("SFN605", 2, "verify", out, "--junit", out / "report.json")
    assert (out / "report.json").read_bytes() == before
    data = tmp_path / "d.npz"
    data.write_bytes(TEST.read_bytes())
    refused("SFN605", 2, "eval", out, "--data", data, "--samples", 10, "--junit", data)
    assert data.read_bytes() == TEST.read_bytes()
    succeeds("eval", out, "--data", data, "--samples", 10)
    assert document(out / "eval.json")["gates"] == []
