"""Build the same networks with this working tree and with another revision, and say what differs.

    python -m tests.benchmarks.replay main                          every emitted byte against revision main
    python -m tests.benchmarks.replay main --record base.json       only build main, and keep its hashes
    python -m tests.benchmarks.replay --against base.json           the working tree against what was kept
    python -m tests.benchmarks.replay main --integers-only          only golden.npz: samples and integers, by name
    python -m tests.benchmarks.replay main --speed                  processor time of the simulator, side by side
    ... --quick | --only digits                                     fewer cases; --list names them

Exit status 1 where something differs. Options, versions and the words of diagnostics are listed and may differ.
timing.json is left out. Bytes depend on the machine's BLAS: compare only records of one machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import replay_record, replay_speed, replay_trees
from .replay_cases import QUICK, SAMPLES, SPEED, Case, cases, corpus_data, of_corpus
from .replay_record import Record
from .replay_trees import Tree


def recorded(tree: Tree, case: Case) -> Record:
    """Compile a case with a tree and return what is kept of it."""
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        work = Path(scratch)
        inputs, status, messages, seconds = compiled(tree, case, work)
        return {
            "inputs": inputs,
            "exit": status,
            "messages": replay_record.of_messages(messages),
            "seconds": round(seconds, 1),
            "build": replay_record.of_build(work / "out"),
        }


def compiled(tree: Tree, case: Case, work: Path) -> tuple[dict[str, str], int, str, float]:
    """Compile a case into ``work / "out"``; return (hashes of inputs, exit status, error output, processor seconds)."""
    model = work / case.model.name
    shutil.copyfile(case.model, model)
    arguments = ["compile", model.name, "--quiet", "--target", case.targets, "-o", "out", *case.options.split()]
    inputs = {"model": replay_record.sha256(model.read_bytes())}
    if case.write is not None:
        case.write(work / "samples.npz")
        inputs["samples"] = replay_record.sha256((work / "samples.npz").read_bytes())
        arguments += ["--calib", "samples.npz"]
    return inputs, *tree.sfnc(work, *arguments)


def record(name: str | None, chosen: list[Case], file: Path) -> None:
    """Write what is kept of every case of a revision, after each case; cases that the file has of it stay."""
    kept = begun(file, name)
    with replay_trees.revision(name) as tree:
        for case in [c for c in chosen if c.name not in kept["cases"]]:
            kept["cases"][case.name] = found = recorded(tree, case)
            file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            print(f"{found['seconds']:7.1f} s  {case.name}: exit status {found['exit']}", flush=True)
    seconds = sum(r["seconds"] for r in kept["cases"].values())
    print(f"{seconds:.0f} s of processor time; {len(kept['cases'])} cases of {kept['revision']} in {file}")


def begun(file: Path, name: str | None) -> dict[str, Any]:
    """Return what a file holds of the very same revision, else a record without cases; a working tree may change."""
    new: dict[str, Any] = {"revision": replay_trees.described(name), "cases": {}}
    if name is None or not file.is_file():
        return new
    old: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return old if old["revision"] == new["revision"] else new


def compare(chosen: list[Case], base: str | None, kept: dict[str, Any] | None, integers_only: bool) -> bool:
    """Print what differs between the working tree and a revision, or what was kept of one; return whether any does."""
    whole = kept or {"revision": replay_trees.described(base), "cases": {}}
    print(f"{whole['revision']} -> {replay_trees.described(None)}", flush=True)
    results = []
    with replay_trees.revision(None) as mine, replay_trees.revision(base) as other:
        for case in chosen:
            old = recorded(other, case) if kept is None else kept["cases"].get(case.name)
            results.append(told(case.name, old, recorded(mine, case), integers_only))
    print(f"{len(results) - sum(results)} of {len(results)} cases equal")
    return any(results)


def told(name: str, old: Record | None, new: Record, integers_only: bool) -> bool:
    """Print how a case compares; return whether it differs."""
    wrong, notes = (["not in the record"], []) if old is None else replay_record.differences(old, new, integers_only)
    print(f"{'DIFFERS' if wrong else 'equal  '} {new['seconds']:6.1f} s  {name}", flush=True)
    for line in wrong:
        print(f"          {line}")
    for line in notes:
        print(f"          (may differ) {line}")
    return bool(wrong)


def speed(base: str | None, rounds: int) -> bool:
    """Print the simulator's processor time in both trees; return whether its integers differ."""
    with replay_trees.revision(base) as old, replay_trees.revision(None) as new:
        networks = [replace(of_corpus(name), targets="sim") for name in SPEED]
        different = [replay_speed.measured(case, (old, new), compiled, rounds) for case in networks]
    return any(different)


def chosen_cases(args: argparse.Namespace) -> list[Case]:
    """Return the cases that the command line asks for; exits where there is none."""
    found = [c for c in cases() if (not args.quick or c.name in QUICK) and args.only in c.name]
    if not corpus_data.present():
        print(f"only the shipped networks: {corpus_data.MISSING}")
    if not found:
        sys.exit(f"no case has {args.only!r} in its name")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Build, compare, print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="git revision to compare with")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="only build BASE (else the working tree) and keep it"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with what --record kept")
    parser.add_argument("--integers-only", action="store_true", help="compare golden.npz by value instead of bytes")
    parser.add_argument("--quick", action="store_true", help=f"{len(QUICK)} cases, below a minute")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with TEXT in their name")
    parser.add_argument("--list", action="store_true", help="print the cases and their samples")
    parser.add_argument("--speed", action="store_true", help="measure the simulator instead; needs BASE and the corpus")
    parser.add_argument("--rounds", type=int, default=15, help="of --speed [default: 15]")
    args = parser.parse_args(arguments)
    if args.list:
        for c in chosen_cases(args):
            print(f"{c.name}: {c.targets} {c.options} ({SAMPLES.get(c.model.stem, 'all or 32')} samples)")
        return 0
    if args.record is not None:
        record(args.base, chosen_cases(args), args.record)
        return 0
    if (args.base is None) == (args.against is None):
        parser.error("give a revision or --against FILE")
    if args.speed:
        return int(speed(args.base, args.rounds)) if args.base else parser.error("--speed needs a revision")
    kept = json.loads(args.against.read_text(encoding="utf-8")) if args.against else None
    return int(compare(chosen_cases(args), args.base, kept, args.integers_only))


if __name__ == "__main__":
    sys.exit(main())
