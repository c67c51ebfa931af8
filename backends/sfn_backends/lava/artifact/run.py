# mypy: ignore-errors
"""Run this network in lava-nc 0.10.0: ``python run.py --check``, or ``--input codes.npz --output values.npz``.

Arrays are named by the ``id`` of a value in manifest.json, or by its name; the first axis counts samples. Exit status:
0 done (and equal to golden.npz, with --check), 1 different, 2 wrong usage, 5 Lava died or took too long.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # this folder stays as it was emitted
import guard  # noqa: E402

HERE = Path(__file__).resolve().parent


def main(argv=None):
    """Start the guarded run, or be it; return the exit status."""
    args = _arguments(argv)
    if guard.inside():
        guard.watch()
        return _check(args) if args.check else _compute(args)
    command = [sys.executable, str(HERE / "run.py"), *(sys.argv[1:] if argv is None else argv)]
    with guard.workspace() as work:
        status = guard.run(command, work, args.time_limit)
    if status is None:
        print(f"FAILED: not finished within {args.time_limit:g} s", file=sys.stderr)
    elif status < 0:
        print("FAILED: the run was ended; its own message stands above", file=sys.stderr)
    return status if status is not None and status >= 0 else 5


def _arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare every layer with golden.npz")
    parser.add_argument("--input", metavar="NPZ", help="input codes; with every value's codes, layers can run alone")
    parser.add_argument("--output", metavar="NPZ", help="where the integers of every layer go")
    parser.add_argument("--report", metavar="JSON", help="where versions and mode go")
    parser.add_argument("--layers", metavar="ID,...", help="only these layers, each alone, fed with the input's codes")
    parser.add_argument("--mode", choices=("auto", "whole", "layerwise"), default="auto", help="default: auto")
    parser.add_argument("--whole-limit", type=float, default=60.0, metavar="S", help="auto: layerwise above (60 s)")
    parser.add_argument("--time-limit", type=float, default=600.0, metavar="S", help="end the run after (600 s)")
    args = parser.parse_args(argv)
    if args.check == bool(args.input) or bool(args.input) != bool(args.output):
        parser.error("give either --check, or --input and --output")
    return args


def _check(args):
    import jobs
    import numpy as np

    manifest = _manifest()
    changed = [n for n, d in manifest["sha256"].items() if hashlib.sha256((HERE / n).read_bytes()).hexdigest() != d]
    golden = _load(HERE / "golden.npz", manifest)
    values, mode = jobs.execute(HERE, manifest, golden, args.mode, args.whole_limit)
    bad = [name for name, got in values.items() if not np.array_equal(got, golden[name])]
    for name in bad:
        print(f"different: {name}: {int((values[name] != golden[name]).sum())} of {values[name].size} integers")
    for name in changed:
        print(f"changed: {name}: not the file that was emitted")
    total = sum(v.size for v in values.values())
    verdict = "FAILED" if bad or changed else "OK"
    equal = f"{len(values) - len(bad)} of {len(values)} layers equal"
    print(f"{verdict}: {equal}, {total} integers, {mode}, {jobs.versions()}")
    return 1 if bad or changed else 0


def _compute(args):
    import jobs
    import numpy as np

    manifest = _manifest()
    codes = _load(Path(args.input), manifest)
    only = args.layers.split(",") if args.layers else None
    values, mode = jobs.execute(HERE, manifest, codes, args.mode, args.whole_limit, only)
    ids = {layer["name"]: layer["id"] for layer in manifest["layers"]}
    np.savez(args.output, **{ids[name]: value for name, value in values.items()})
    if args.report:
        Path(args.report).write_text(json.dumps({"executed_by": jobs.versions(), "mode": mode}), encoding="utf-8")
    return 0


def _manifest():
    return json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))


def _load(path, manifest):
    """Return the arrays of an .npz by value name."""
    import numpy as np

    names = {v["id"]: v["name"] for v in manifest["inputs"] + manifest["layers"]}
    with np.load(path, allow_pickle=False) as npz:
        return {names.get(key, key): npz[key] for key in npz.files}


if __name__ == "__main__":
    sys.exit(main())
