"""Lava's folder in a program of somebody else: the README's example as it is written, classes, floats to codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sfn_backends.lava.artifacts import TEMPLATES, host_parts

from sfn_compile.files import program_files
from sfn_compile.host.codec import answered, decoded, encode_all
from sfn_compile.program.network import Program, Transpose
from sfn_compile.program.rounding import ROUNDINGS
from sfn_compile.simulator.run import run_codes
from tests.commands.cli_helpers import CALIB, DIGITS, TEST, document, succeeds

from .lava_runs import PYTHON, needs_lava

ARTIFACT = Path(sys.modules["sfn_backends.lava.artifacts"].__file__ or "").parent / "artifact"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("embedded") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 120, "--target", "lava", "-o", out, "--quiet")
    return out


@pytest.fixture(scope="module")
def classes(built, tmp_path_factory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with samples of the test data, their labels, and the classes that sfnc's simulator gives."""
    with np.load(TEST) as data:
        x, labels = data["image"][:6], data["labels"][:6]
    program = program_files.load(built)
    values = run_codes(program, encode_all(program, {"image": x}))
    place = tmp_path_factory.mktemp("user")
    np.savez(place / "samples.npz", image=x)
    np.savez(place / "labelled.npz", x=x, labels=labels)
    (place / "lava").symlink_to(built / "lava")
    return place, labels, decoded(program.outputs[0], values).argmax(axis=1)


def ran(*command: object, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], cwd=at, capture_output=True, text=True, timeout=300)


@needs_lava
def test_the_example_of_the_readme(classes, built):
    place, _, wanted = classes
    (example,) = re.findall(r"```python\n(.*?)```", (built / "lava" / "README.md").read_text(), re.DOTALL)
    (place / "example.py").write_text(example)
    done = ran(PYTHON, "example.py", at=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"logits {wanted.tolist()}" in done.stdout
    assert not list((built / "lava").rglob("__pycache__"))


@needs_lava
def test_classes_of_images(classes):
    place, labels, wanted = classes
    done = ran(PYTHON, "lava/run.py", "--images", "labelled.npz", at=place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines[:-1]] == [[str(i), str(c)] for i, c in enumerate(wanted)]
    assert lines[-1] == f"logits: {int((wanted == labels).sum())} of 6 labels"


@needs_lava
def test_arrays_of_other_names_are_told(classes):
    place, _, _ = classes
    np.savez(place / "odd.npz", a=np.zeros((1, 3)), b=np.zeros(1))
    done = ran(PYTHON, "lava/run.py", "--images", "odd.npz", at=place)
    assert done.returncode == 2
    assert "needed are ['image']" in done.stderr


@pytest.mark.parametrize("what", [("--check",), ("--images", "samples.npz")])
def test_without_lava_the_folder_says_what_is_missing(classes, what, tmp_path):
    """Its own venv has no Lava: exit status 5, and the README that tells how to install it."""
    place, _, _ = classes
    done = ran(sys.executable, "lava/run.py", *what, at=place)
    if done.returncode == 0:
        pytest.skip("this Python has lava-nc itself")
    assert done.returncode == 5
    assert "is missing for" in done.stderr
    assert "README.md says how to install it" in done.stderr
    assert "Traceback" not in done.stderr


def test_arrays_of_the_host_have_names(built):
    with np.load(built / "lava" / "host.npz") as npz:
        assert {"input.image.step", "output.logits.step"} <= set(npz.files)
    manifest = document(built / "lava" / "manifest.json")
    assert manifest["host"]["inputs"][0]["step"] == {"array": "input.image.step"}
    assert "host.py" in TEMPLATES


def test_two_names_that_look_the_same_stay_apart():
    from sfn_compile.testing.builder import Builder

    build = Builder((2,), hi=3)
    build.input("a/b", (2,), hi=3)
    build.input("a:b", (2,), hi=3)
    tree, arrays = host_parts(build._program())
    assert len({e["step"]["array"] for e in tree["inputs"]}) == 3 == len(arrays)


# -- host.py beside sfnc's own encoder and decoder --------------------------------------------------------------------
def host_module():
    import importlib.util

    spec = importlib.util.spec_from_file_location("lava_host", ARTIFACT / "host.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def beside(program: Program, x: dict[str, np.ndarray]) -> None:
    tree, arrays = host_parts(program)
    host = host_module().Host({"host": tree}, arrays)
    want = encode_all(program, x)
    got = host.encode(x)
    for name, codes in want.items():
        assert np.array_equal(got[name], codes), name
    values = run_codes(program, want)
    for output in program.outputs:
        real = host.decode(values)[output.name]
        assert np.array_equal(real, answered(output, values))


def test_floats_of_the_demo_network(built):
    with np.load(TEST) as data:
        beside(program_files.load(built), {"image": data["image"][:20]})


@pytest.mark.parametrize("rounding", sorted(ROUNDINGS))
def test_every_rounding_at_its_ties(rounding):
    from dataclasses import replace

    from sfn_compile.testing.builder import Builder

    build = Builder((9,), lo=-3 if rounding != "sign" else -1, hi=3 if rounding != "sign" else 1)
    program = build._program()
    entry = replace(program.inputs[0], rounding=rounding, step=np.array([0.25]))
    x = np.array([[-1.0, -0.625, -0.375, -0.125, 0.0, 0.125, 0.375, 0.625, 9.0]], np.float32)
    tree, arrays = host_parts(replace(program, inputs=(entry,)))
    got = host_module().Host({"host": tree}, arrays).encode({"x": x})["x"]
    assert np.array_equal(got, encode_all(replace(program, inputs=(entry,)), {"x": x})["x"])


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("affine", (("scale", np.array([2.0])), ("bias", np.array([-1.0])))),
        ("relu", ()), ("sigmoid", ()), ("tanh", ()),
        ("clip", (("lo", 0.0), ("hi", None))), ("leaky_relu", (("slope", 0.1),)), ("softmax", (("axes", (0,)),)),
        ("log_softmax", (("axes", (0,)),)), ("move", (("op", Transpose((1, 0))),)),
    ],
)  # fmt: skip
def test_every_operation_of_the_host(kind, args):
    """As sfnc's own decoder computes it, to the last digits: log and exp are NumPy's in both."""
    from sfn_compile.host.codec import apply_host
    from sfn_compile.program.network import HostOp

    op = HostOp(kind, args)
    tree, arrays = program_files.parts_of(op)
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    got = host_module().Host({"host": {"inputs": [], "outputs": []}}, arrays)._applied(tree, [x])
    assert np.allclose(got, apply_host(op, x), rtol=1e-12, atol=1e-15)


def test_an_operation_that_only_sfnc_computes_is_said():
    module = host_module()
    host = module.Host({"host": {"inputs": [], "outputs": []}}, {})
    with pytest.raises(module.Elsewhere, match="sfnc run OUT --on lava"):
        host._applied({"kind": "scalar", "args": []}, [np.zeros(1)])
