"""The tool that compares two revisions: it finds what changed, and nothing where nothing did."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess

import numpy as np
import pytest

from . import replay, replay_record, replay_speed, replay_trees, replay_worker
from .replay_cases import CORPUS, QUICK, SPEED, Case, cases, corpus_data

# A program with the shape of sfnc: it writes a build folder, and where it found its back end.
PROGRAM = """
import importlib.metadata, json, pathlib, sys
import numpy as np

INTEGERS = [1, 2, 3]

def main():
    out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    out.mkdir()
    facts = {"files": {}, "format": 3, "options": {"levels": 31}, "versions": {"numpy": "2"}}
    (out / "manifest.json").write_text(json.dumps(facts))
    (out / "program.json").write_text(json.dumps({"format": 3}))
    np.savez(out / "program.npz", w=np.ones(3, np.int8))
    np.savez(out / "golden.npz", names=np.array(["relu"]), inputs=np.array(["image"]),
             x=np.zeros((1, 3), np.float32), v00000=np.array([INTEGERS], np.int8))
    (out / "points.txt").write_text(importlib.metadata.entry_points(group="sfnc.backends")["sim"].value)
    print("warning SFN701 a word", file=sys.stderr)
"""
SIMULATOR = """
from types import SimpleNamespace

def load(folder):
    return SimpleNamespace(inputs=[SimpleNamespace(value="relu")], outputs=[SimpleNamespace(value="relu")])

def run_codes(program, codes, wanted, threads):
    return {name: 2 * codes[name] for name in wanted}
"""
PROJECT = """
[project]
name = "sfnc"
[project.scripts]
sfnc = "sfn_compile.cli.main:main"
[project.entry-points."sfnc.backends"]
sim = "sfn_backends.elsewhere:Sim"
[tool.hatch.build]
dev-mode-dirs = [".", "backends"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with such a project."""
    project = tmp_path_factory.mktemp("replay") / "project"
    for name, text in (
        ("pyproject.toml", PROJECT),
        ("sfn_compile/__init__.py", "from .simulator.run import load"),
        ("sfn_compile/simulator/run.py", SIMULATOR),
        ("sfn_compile/cli/main.py", PROGRAM),
        ("backends/sfn_backends/__init__.py", ""),
        ("tiny.onnx", "a model"),
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def case(folder):
    return Case("tiny", folder / "tiny.onnx", None, "", "sim")


@pytest.fixture(scope="module")
def tree(folder):
    return replay_trees.tree_of(folder, folder.parent / "points")


@pytest.fixture(scope="module")
def tiny(case, tree):
    """Return the record of the one case."""
    return replay.recorded(tree, case)


def test_a_tree_runs_its_own_packages_and_entry_points_not_the_installed_ones(tree, tmp_path):
    status, words, seconds = tree.sfnc(tmp_path, "compile", "-o", "out")
    assert (status, words) == (0, "warning SFN701 a word\n")
    assert seconds > 0
    assert (tmp_path / "out" / "points.txt").read_text() == "sfn_backends.elsewhere:Sim"


def test_packages_of_another_tree_are_never_taken_for_the_one_under_test(folder, tmp_path):
    tree = replay_trees.Tree(
        folder, (replay_trees.ROOT, replay_trees.ROOT / "backends"), ("sfn_compile.cli.main", "main")
    )
    with pytest.raises(RuntimeError, match="not from the tree"):
        tree.sfnc(tmp_path, "compile", "-o", "out")


def test_a_record_is_equal_to_itself(tiny):
    assert replay_record.differences(tiny, copy.deepcopy(tiny), False) == ([], [])
    assert replay_record.differences(tiny, copy.deepcopy(tiny), True) == ([], [])
    assert set(tiny["build"]["golden"]["values"]) == {"relu"}


@pytest.mark.parametrize(
    ("path", "value", "bytes_lines", "integer_lines"),
    [
        (("build", "files", "points.txt"), "0", ["points.txt differs"], []),
        (("build", "files", "more.txt"), "0", ["more.txt is new"], []),
        (("build", "program"), "0", ["the Program's digest differs"], []),
        (("build", "golden", "values", "relu"), "0", ["golden.npz: relu differs"], ["golden.npz: relu differs"]),
        (("build", "golden", "samples", "image"), "0", ["golden.npz: image differs"], ["golden.npz: image differs"]),
        (("exit",), 3, ["exit status 0 -> 3"], ["exit status 0 -> 3"]),
        (("messages", "codes"), [], *[["diagnostics ['SFN701'] -> []"]] * 2),
        (("build",), {}, *[["there is a build on one side only"]] * 2),
        (("inputs", "model"), "0", *[["compiled from another model or other samples: nothing can be compared"]] * 2),
    ],
)
def test_one_change_is_found_and_named(tiny, path, value, bytes_lines, integer_lines):
    other = copy.deepcopy(tiny)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert replay_record.differences(tiny, other, False)[0] == bytes_lines
    assert replay_record.differences(tiny, other, True)[0] == integer_lines


def test_other_options_are_listed_and_forgive_only_what_states_them(tiny):
    other = copy.deepcopy(tiny)
    other["build"]["options"] = {"most": 31}
    other["build"]["files"]["manifest.json"] = "0"
    notes = ["options: levels 31 -> absent", "options: most absent -> 31"]
    assert replay_record.differences(tiny, other, False) == ([], notes)
    other["build"]["rest"]["manifest.json"] = "0"
    assert replay_record.differences(tiny, other, False) == (["manifest.json differs"], notes)
    other["build"]["options"] = tiny["build"]["options"]
    other["build"]["rest"] = tiny["build"]["rest"]
    assert replay_record.differences(tiny, other, False) == (["manifest.json differs"], [])


def test_integers_are_compared_whatever_holds_them(tmp_path):
    def hashes(integers, dtype, key="v00000", names=("relu",)):
        x = np.zeros((1, 2), np.float32)
        np.savez(tmp_path / "g.npz", names=np.array(names), inputs=np.array(["a", "b"]), x00000=x, x00001=x,
                 **{key: np.array(integers, dtype)})  # fmt: skip
        return replay_record.golden(tmp_path / "g.npz")

    assert hashes([[1, 2]], np.int8) == hashes([[1, 2]], np.int64)
    assert hashes([[1, 2]], np.int8) != hashes([[1, 3]], np.int8)
    assert hashes([[1, 2]], np.int8) != hashes([1, 2], np.int8)
    assert set(hashes([1], np.int8)["samples"]) == {"a", "b"}
    with pytest.raises(TypeError):
        hashes([1.5], np.float64)


def test_only_options_and_versions_are_left_out_of_what_states_them(tmp_path):
    def rest(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return replay_record.without_stated(tmp_path / name)

    page = "<p>{}</p><tr><td>options</td><td>{}</td></tr>\n<tr><td>versions</td><td>{}</td></tr><tr><td>{}</td></tr>"
    assert rest("p.html", page.format(1, 2, 3, 4)) == rest("p.html", page.format(1, 5, 6, 4))
    assert rest("p.html", page.format(1, 2, 3, 4)) != rest("p.html", page.format(0, 2, 3, 4))
    assert rest("p.html", page.format(1, 2, 3, 4)) != rest("p.html", page.format(1, 2, 3, 5))
    assert rest("r.json", '{"a": 1, "options": 2}') == rest("r.json", '{"options": 3, "a": 1}')
    assert rest("r.json", '{"a": 1, "options": 2}') != rest("r.json", '{"a": 2, "options": 2}')


def test_a_revision_is_built_beside_the_working_tree_and_a_changed_integer_ends_in_status_1(
    folder, case, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(folder, tmp_path / "project")
    monkeypatch.setattr(replay, "cases", lambda: [case])
    git = ("git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(replay_trees, "ROOT", folder)
    assert replay.main(["HEAD", "--record", str(tmp_path / "base.json")]) == 0
    assert replay.main(["HEAD"]) == replay.main(["--against", str(tmp_path / "base.json")]) == 0
    (folder / "sfn_compile" / "cli" / "main.py").write_text(PROGRAM.replace("[1, 2, 3]", "[1, 2, 4]"), encoding="utf-8")
    capsys.readouterr()
    for options in (["HEAD"], ["--against", str(tmp_path / "base.json")], ["HEAD", "--integers-only"]):
        assert replay.main(options) == 1
        assert "golden.npz: relu differs" in capsys.readouterr().out
    assert subprocess.check_output([*git, "worktree", "list"], text=True).count("\n") == 1


def test_a_record_that_was_stopped_is_continued_for_the_same_revision_only(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_trees, "described", lambda name: f"commit of {name}")
    (tmp_path / "base.json").write_text('{"revision": "commit of main", "cases": {"tiny": {}}}', encoding="utf-8")
    assert set(replay.begun(tmp_path / "base.json", "main")["cases"]) == {"tiny"}
    for name, file in (("other", "base.json"), (None, "base.json"), ("main", "none.json")):
        assert replay.begun(tmp_path / file, name) == {"revision": f"commit of {name}", "cases": {}}


def test_a_case_that_the_record_lacks_differs(tiny, capsys):
    assert replay.told("tiny", None, tiny, False)
    assert "not in the record" in capsys.readouterr().out


def test_the_quick_cases_and_the_timed_networks_are_there():
    names = {case.name for case in cases()} | {f"corpus/{name}" for name in CORPUS}
    assert set(QUICK) <= names
    assert {f"corpus/{name}" for name in SPEED} <= names


@pytest.mark.skipif(not corpus_data.present(), reason=corpus_data.MISSING)
def test_every_network_of_the_corpus_is_a_case():
    manifest = json.loads((corpus_data.ROOT / "manifest.json").read_text(encoding="utf-8"))
    assert set(CORPUS) == set(manifest.get("models", manifest))


def test_two_trees_are_timed_in_turns_and_other_integers_are_found(folder, case, tree, tmp_path, capsys):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "sfn_compile" / "simulator" / "run.py").write_text(SIMULATOR.replace("2 *", "3 *"), encoding="utf-8")
    assert not replay_speed.measured(case, (tree, tree), replay.compiled, 2)
    assert "ratio of medians" in capsys.readouterr().out
    changed = replay_trees.tree_of(other, tmp_path / "points-of-other")
    assert replay_speed.measured(case, (tree, changed), replay.compiled, 2)
    assert "INTEGERS DIFFER" in capsys.readouterr().out


def test_the_simulator_is_found_where_it_is_now():
    assert replay_worker.found(["sfn_compile.nowhere", *replay_speed.RUN_CODES]).__name__ == "run_codes"
    with pytest.raises(RuntimeError, match="in none of"):
        replay_worker.found(["sfn_compile.nowhere", "json"])
