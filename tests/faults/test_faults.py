"""Every file of a build is damaged: each damage is caught, or shown to change nothing. Nothing ends as a bug of ours.

Two tables. ``SEALED`` and ``LIVING`` are the files. ``HARMLESS`` says which changes of a *re-sealed* file (its sha256
and the manifest written anew, as nobody does by accident) end well, and why; wherever one does, the files must read
back as the same network and compute the same integers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sfn_backends.lava import LavaBackend

from sfn_compile import load
from sfn_compile.files import program_files, sealed
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.targets.target_records import read_record

from ..commands.cli_helpers import document, reseal, sfnc
from .damage import WHOLE, Mutation, inside, restore, whole

SEED, MOST = 13, 10  # changes inside a file, of each kind
PROGRAM = ("program.json", "program.npz")
SEALED = (
    *PROGRAM, "model.onnx", "golden.npz", "scales.npz", "report.json", "targets.json", "sim/program.json",
    "sim/program.npz",
    "onnx/network.onnx", "onnx/program.json", "onnx/program.npz", "nir/network.nir", "nir/network_lif.nir",
    "nir/README.md", "nir/run_nir.py", "nir/readers.py", "nir/evaluator.py", "nir/read_values.py", "nir/torch_map.py",
    "nir/golden.npz", "nir/network_data.nir",
    "lava/manifest.json", "lava/tensors.npz", "lava/host.npz", "lava/golden.npz", "lava/README.md", "lava/build.py",
    "lava/compat.py", "lava/guard.py", "lava/jobs.py", "lava/layout.py", "lava/plan.py", "lava/run.py",
    "lava/host.py", "lava/over_time.py", "lava/sfn_lava.py",
    "lava/sfnproc/__init__.py", "lava/sfnproc/neurons.py", "lava/sfnproc/pool.py", "lava/sfnproc/product.py",
    "lava/sfnproc/rows.py", "lava/sfnproc/sink.py", "lava/sfnproc/entry.py",
)  # fmt: skip
PROGRAMS = tuple(f for f in SEALED if f.endswith((".py", ".md")))  # of targets: what they compute is compared
LIVING = ("report.html", "timing.json", "request.json", "proof.json", "eval.json", "pictures.json", "bisect.json")
# (commands, what they are given): what reads the file, and so has to notice.
VERIFY, RUN, EVAL, BISECT, REPORT = "verify", "run", "eval", "bisect", "report"
READERS = {
    "program.json": (VERIFY, RUN, EVAL, BISECT, REPORT), "program.npz": (VERIFY, RUN, EVAL, BISECT),
    "manifest.json": (VERIFY, RUN, EVAL, BISECT, REPORT), "model.onnx": (VERIFY, EVAL, BISECT),
    "golden.npz": (VERIFY,), "scales.npz": (BISECT,), "report.json": (VERIFY, EVAL, BISECT, REPORT),
    "eval.json": (REPORT,), "pictures.json": (REPORT,), "proof.json": (REPORT,), "bisect.json": (REPORT,),
    "timing.json": (REPORT,),
    "request.json": (REPORT,),
    "report.html": (REPORT,), "host_tail.onnx": (RUN, EVAL),
}  # fmt: skip
# Kinds of change that may end well in a re-sealed file, and why. No other may.
ARCHIVE = dict.fromkeys(
    ("array", "one byte changed"), "an archive may hold more than is read, and its list bytes that nobody reads"
)
ANY_OF_GOLDEN = dict.fromkeys(
    [*WHOLE, "a pickled object", "array", "number"], "`run.py --check` alone reads it; verify brings its own integers"
)
ANY_OF_SAMPLES = dict.fromkeys(
    [*ANY_OF_GOLDEN, "dataset"], "`run_nir.py` alone reads it; verify brings its own integers"
)
UNREAD = dict.fromkeys(
    ("dataset", "one byte changed"), "a number that is not read, of a kernel of size 1 or of the file's version"
)
DESCRIBES = dict.fromkeys(("field", "number"), "it describes: no integer is computed from it")
HARMLESS: dict[str, dict[str, str]] = {
    "program.npz": ARCHIVE, "sim/program.npz": ARCHIVE, "onnx/program.npz": ARCHIVE, "lava/tensors.npz": ARCHIVE,
    "lava/host.npz": ARCHIVE, "lava/golden.npz": ANY_OF_GOLDEN,
    "nir/network.nir": UNREAD, "nir/network_lif.nir": UNREAD,
    "nir/golden.npz": ANY_OF_SAMPLES, "nir/network_data.nir": ANY_OF_SAMPLES,
    "golden.npz": {**ARCHIVE, "number": "a sample that moves by less than a step has the same codes"},
    "scales.npz": {**ARCHIVE, "number": "bisect alone reads it: real numbers that no integer depends on"},
    "targets.json": dict.fromkeys(("field", "number"), "no integer depends on which core a neuron stands on"),
    "report.json": DESCRIBES, "manifest.json": DESCRIBES,
    "host_tail.onnx": {"graph": "the host's floats are not proved (docs/spec/proof.md)"},
}  # fmt: skip
CODES_OF_DAMAGE = {1, 3, 5}


def test_the_tables_name_every_file_of_a_build(small, detector):
    there = {p.relative_to(small / "out").as_posix() for p in (small / "out").rglob("*") if p.is_file()}
    assert there == {*SEALED, *LIVING, "manifest.json"}
    assert set(document(small / "out" / "manifest.json")["files"]) == set(SEALED)
    assert (detector / "out" / "host_tail.onnx").is_file()


# -- unsealed -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", SEALED)
def test_a_sealed_file_that_was_changed_is_never_verified(file, small, spoiled):
    out = spoiled["small"] / "out"
    for label, change in WHOLE.items():
        if label == "emptied" and not (small / "out" / file).stat().st_size:
            continue
        change(out / file)
        done = sfnc("verify", out, "--on", "sim", "--samples", 1)
        restore(out, small / "out", file)
        assert done.exit_code == 1, (label, done.output)
        assert f"SFN506 at {file}" in done.stderr, label
        assert "Traceback" not in done.output


@pytest.mark.parametrize("place", ["sim", "onnx", "nir", "lava", "lava/sfnproc"])
@pytest.mark.parametrize("stranger", ["more.npz", "numpy.py", "folder/"])
def test_a_stranger_in_the_folder_of_a_target_is_never_verified(place, stranger, spoiled):
    new = spoiled["small"] / "out" / place / stranger
    new.mkdir() if stranger.endswith("/") else new.write_text("1")
    done = sfnc("verify", spoiled["small"] / "out", "--on", "sim", "--samples", 1)
    new.rmdir() if stranger.endswith("/") else new.unlink()
    assert done.exit_code == 1
    assert f"SFN506 at {place}/{stranger}" in done.stderr


# -- re-sealed ------------------------------------------------------------------------------------------------------
def commands(file: str) -> Iterator[tuple[str, ...]]:
    """Yield what reads a file: the command and its target."""
    target = file.partition("/")[0] if "/" in file else ""
    if target:
        yield VERIFY, "--on", target
        if target != "sim":
            yield RUN, "--on", target
        return
    if file == "targets.json":  # Lava takes seconds to start; its entry is made and read like the others
        yield VERIFY, "--on", "sim,onnx,nir"
        return
    for command in READERS[file]:
        yield (command, "--on", "sim") if command == VERIFY else (command,)


def ran(home: Path, command: str, *more: str):
    """The result of a command on the build of a folder, with what it needs."""
    answers = ("-o", home / "answers.npz")
    given = {VERIFY: ("--samples", 2), RUN: ("--input", home / "data.npz", *answers), REPORT: (),
             EVAL: ("--data", home / "data.npz"), BISECT: ("--data", home / "data.npz", "--samples", 4)}  # fmt: skip
    return sfnc(command, home / "out", *given[command], *more, "--quiet")


def put_back(home: Path, original: Path, file: str) -> None:
    """Make a folder what it was, the documents that commands wrote included."""
    for one in (file, "manifest.json", *LIVING):
        if one != file or (home / "out" / one) != original / "out" / one:
            restore(home / "out", original / "out", one)


def fault_of(m: Mutation, home: Path, harmless: dict[str, str]) -> str:
    """Return "" where a change is caught by every means it has to be, or changes nothing; else what is wrong."""
    found = {" ".join(c): ran(home, *c) for c in commands(m.file)}
    for command, done in found.items():
        said = f"{m}: {command} ended in {done.exit_code}: {done.output[-300:]}"
        no_target = done.exit_code == 2 and "SFN604" in done.stderr  # it is not listed any more
        if (done.exit_code not in {0, *CODES_OF_DAMAGE} and not no_target) or (
            done.exit_code and "SFN" not in done.stderr
        ):
            return said
        if "Traceback" in done.output:
            return said
    if any(done.exit_code for done in found.values()):
        return ""
    if m.file in LIVING:
        return ""  # no number is read from it
    if m.kind not in harmless:
        return f"{m}: every command took it for what compile wrote"
    return "" if is_the_same(home, m.file) else f"{m}: nothing failed, but it is another network"


def is_the_same(home: Path, file: str) -> bool:
    """Whether the target that a file belongs to reads back as the Program, and computes its integers."""
    target = file.partition("/")[0] if "/" in file else "sim"
    if sfnc("verify", home / "out", "--on", target, "--samples", 2, "--quiet").exit_code:
        return False
    row = document(home / "out" / "proof.json")["targets"][target]
    return row["reload"]["equal"] and row["compared"] > 0 and not row["different"]


def changes(original: Path, file: str) -> list[Mutation]:
    found = [*whole(file), *inside(original / "out", file, SEED, MOST)]
    return [m for m in found if not (file == "targets.json" and m.label.startswith("targets/lava"))]


@pytest.mark.parametrize(
    ("build", "file"),
    [*(("small", f) for f in ("manifest.json", *SEALED, *LIVING) if f not in PROGRAMS and not f.startswith("lava/")),
     ("detector", "host_tail.onnx"), ("detector", "manifest.json")],
)  # fmt: skip
def test_every_change_of_a_resealed_file_is_caught_or_changes_nothing(build, file, small, detector, spoiled):
    home, original = spoiled[build], {"small": small, "detector": detector}[build]
    faults = []
    for m in changes(original, file):
        m.apply(home / "out" / file)
        resealed(home / "out", file)
        faults.append(fault_of(m, home, HARMLESS.get(file, {})))
        put_back(home, original, file)
    assert not any(faults), "\n".join(filter(None, faults))


def resealed(out: Path, file: str) -> None:
    """Write the sha256 sums anew; of a manifest that still is one, its seal."""
    if file != "manifest.json":
        reseal(out)
        return
    try:
        content = json.loads((out / file).read_text(encoding="utf-8"))
        sealed_again = {**content, sealed.SEAL: sealed.seal_of(content)}
    except (OSError, ValueError, TypeError, RecursionError):
        return
    (out / file).write_text(json.dumps(sealed_again), encoding="utf-8")


@pytest.mark.parametrize("file", [f for f in SEALED if f.startswith("lava/") and f not in PROGRAMS])
def test_every_change_of_a_resealed_lava_file_is_caught_when_it_is_read_back_or_changes_nothing(file, small, spoiled):
    """Lava takes seconds to start, so it is not executed here: what reads back with an equal digest is the same."""
    out, lava = spoiled["small"] / "out", LavaBackend()
    legal = read_record(out, "lava", load(out).program).digest
    faults = []
    for m in changes(small, file):
        m.apply(out / file)
        try:
            found = program_files.digest(lava.reload(out / "lava"))
        except CompileError as error:
            found = error.diagnostics[0].code
        except Exception as error:
            found = repr(error)
        if len(found) != len(legal) and found != "SFN503":
            faults.append(f"{m}: {found}")
        elif found == legal and m.kind not in HARMLESS.get(file, {}):
            faults.append(f"{m}: it read back as what compile wrote")
        restore(out, small / "out", file)
    assert not faults, "\n".join(faults)


def test_lava_files_that_compute_other_integers_are_caught_by_execution(small, tmp_path):
    home = Path(shutil.copytree(small, tmp_path / "home"))
    neurons = home / "out" / "lava" / "sfnproc" / "neurons.py"
    text = neurons.read_text(encoding="utf-8")
    assert text.count("self.limits[0], self.limits[1])") == 1
    neurons.write_text(text.replace("self.limits[1])", "self.limits[1] - 1)"), encoding="utf-8")
    reseal(home / "out")
    done = ran(home, VERIFY, "--on", "lava")
    assert done.exit_code == 1, done.output
    assert "SFN501 at lava" in done.stderr
