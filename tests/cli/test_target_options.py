"""Options of targets: a back end that is made here declares its own, and help, Python and manifest have them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sfn_compile
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.targets.target_options import declared_by_all, resolved

from ..commands.cli_helpers import document, refused, sfnc, succeeds

OPTIONS = """
from sfn_compile.foundation.declaration import Option

OPTIONS = (
    Option(name="order", default="up", choices=("up", "down"), flags=("--plug-order",), help="Which end comes first."),
    Option(name="depth", default=3, lowest=1, highest=9, help="How many buffers a core has."),
    Option(name="sealed", default=False, help="Nothing can be read back."),
)
"""
TARGET = """
import json
from sfn_backends.sim import SimBackend

class Plug(SimBackend):
    name = "plug"

    def emit(self, program, folder, options):
        super().emit(program, folder, options)
        (folder / "options.json").write_text(json.dumps(dict(options), sort_keys=True))
"""


def installed(folder: Path, name: str, files: dict[str, str], entries: str) -> None:
    """Lay a package down as pip does: modules, and the entry points beside them."""
    for path, text in {f"{name}/__init__.py": "", **{f"{name}/{p}": t for p, t in files.items()}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that packages are installed in, for one test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("COLUMNS", "80")
    yield folder
    for name in [name for name in sys.modules if "_for_tests" in name]:
        del sys.modules[name]


@pytest.fixture
def plug(site):
    """A package with the target `plug`."""
    entries = (
        "[sfnc.backends]\nplug = plug_for_tests.target:Plug\n[sfnc.options]\nplug = plug_for_tests.options:OPTIONS\n"
    )
    installed(site, "plug_for_tests", {"options.py": OPTIONS, "target.py": TARGET}, entries)


def emitted(out: Path) -> dict:
    return json.loads((out / "plug" / "options.json").read_text(encoding="utf-8"))


def test_help_has_the_options_of_a_target_and_does_not_import_it(plug):
    for command in ("compile", "check"):
        text = " ".join(succeeds(command, "--help").stdout.split())
        assert "--plug-order <up|down> Which end comes first." in text
        assert "plug.order (--plug-order)" in text
        assert "plug.depth: How many buffers a core has. [default: 3]" in text
        assert "--nir-form <binary|unary|sar>" in text
    assert "plug_for_tests.options" in sys.modules
    assert "plug_for_tests.target" not in sys.modules


def test_the_command_line_gives_a_target_its_options(plug, little, tmp_path):
    how = ("--target", "sim,plug", "--plug-order", "down", "--target-option", "plug.depth=4", "--quiet")
    succeeds(little, *how, "-o", tmp_path / "o")
    assert emitted(tmp_path / "o") == {"order": "down", "depth": 4, "sealed": False}
    said = document(tmp_path / "o" / "manifest.json")["options"]["target_options"]
    assert said == {"plug.order": "down", "plug.depth": 4, "plug.sealed": False}
    succeeds("verify", tmp_path / "o", "--quiet")
    succeeds("check", little, "--target", "plug", "--plug-order", "down")


def test_python_gives_a_target_its_options(plug, little, tmp_path):
    sfn_compile.compile(little, tmp_path / "o", targets="plug", target_options={"plug.depth": 9, "plug.sealed": True})
    assert emitted(tmp_path / "o") == {"order": "up", "depth": 9, "sealed": True}
    said = document(tmp_path / "o" / "manifest.json")["options"]["target_options"]
    assert said == {"plug.order": "up", "plug.depth": 9, "plug.sealed": True}
    assert document(tmp_path / "o" / "report.json")["options"]["target_options"] == said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("plug.depht=4",), "no target option 'plug.depht'"), (("plug.depth=10",), "depth 10; it must lie in 1..9"),
        (("plug.depth=x",), "plug.depth 'x'; an integer is needed"), (("plug.order=left",), "one of up, down"),
        (("plug.sealed=perhaps",), "True or False is needed"), (("depth",), "write it as target.name=value"),
        (("nir.form=sar",), "nir is not among the targets"),
    ],
)  # fmt: skip
def test_what_a_target_does_not_take(plug, little, tmp_path, options, words):
    how = [part for text in options for part in ("--target-option", text)]
    message = refused("SFN605", 2, little, "--target", "plug", *how, "-o", tmp_path / "o")
    assert words in " ".join(message.split())
    assert not (tmp_path / "o").exists()


def test_an_unknown_option_is_answered_with_the_nearest_and_all_that_exist(plug):
    with pytest.raises(CompileError) as caught:
        resolved(("plug",), {"plug.depht": 4})
    fix = caught.value.diagnostics[0].fix
    assert fix == "plug.depth? there are: loihi1.cores, nir.form, plug.order, plug.depth, plug.sealed"


def test_a_value_of_an_alias_that_does_not_exist_is_wrong_usage(plug):
    done = sfnc("m.onnx", "--target", "plug", "--plug-order", "left")
    assert done.exit_code == 2
    assert "'up', 'down'" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        (OPTIONS.replace("--plug-order", "--plug order"), "'--plug order' cannot be the name of an option"),
        (OPTIONS.replace('default="up"', 'default="left"'), "one of up, down"),
        ("OPTIONS = 3", "not iterable"),
    ],
)
def test_options_that_cannot_be_read_are_named_and_the_other_targets_work(text, reason, little, tmp_path, site):
    entries = (
        "[sfnc.backends]\nbroken = broken_for_tests:X\n[sfnc.options]\nbroken = broken_for_tests.options:OPTIONS\n"
    )
    installed(site, "broken_for_tests", {"options.py": text}, entries)
    assert reason in " ".join(succeeds("compile", "--help").stdout.split())
    succeeds(little, "-o", tmp_path / "o", "--quiet")
    with pytest.raises(CompileError, match="SFN604"):
        resolved(("broken",), {})
    assert "nir.form" in declared_by_all()[0]


def test_an_alias_that_the_compiler_has_itself_is_not_taken(little, tmp_path, site):
    options = OPTIONS.replace("--plug-order", "--levels")
    entries = "[sfnc.options]\ngreedy = greedy_for_tests.options:OPTIONS\n"
    installed(site, "greedy_for_tests", {"options.py": options}, entries)
    succeeds(little, "--levels", 7, "--no-reconstruct", "-o", tmp_path / "o", "--quiet")
    assert document(tmp_path / "o" / "manifest.json")["options"]["levels"] == 7
    assert "greedy.order: Which end comes first." in " ".join(succeeds("compile", "--help").stdout.split())


def test_the_forms_of_nir_by_their_alias_and_by_name(little, tmp_path):
    pytest.importorskip("nir")
    for name, how in {"a": ("--nir-form", "sar"), "b": ("--target-option", "nir.form=sar")}.items():
        succeeds(little, "--target", "nir", *how, "-o", tmp_path / name, "--quiet")
        said = document(tmp_path / name / "manifest.json")
        assert said["options"]["target_options"] == {"nir.form": "sar"}
        assert "nir/network_lif.nir" not in said["files"]
    assert (tmp_path / "a/nir/network.nir").read_bytes() == (tmp_path / "b/nir/network.nir").read_bytes()


def test_the_core_names_no_option_of_a_back_end():
    code = """
import sys
from sfn_compile.targets.target_options import declared_by_all
found, problems = declared_by_all()
assert "nir.form" in found and not problems
print([m for m in ("numpy", "nir", "sfn_backends.nir") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    core = Path(sfn_compile.__file__).parent
    texts = {p: p.read_text(encoding="utf-8") for p in core.rglob("*.py")}
    assert [p.name for p, text in texts.items() if "nir-form" in text or "nir_form" in text or "nir.form" in text] == []
