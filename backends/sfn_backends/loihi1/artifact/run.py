# mypy: ignore-errors
"""Run this network in nengo-loihi's emulator of Loihi 1.

    python run.py --check                               every layer against golden.npz: exit status 0, or 1: different
    python run.py --input codes.npz --output values.npz integers of every layer for your own input codes

Arrays are named by the ``id`` of a value in manifest.json, or by its name; the first axis counts samples. Exit status
2 is wrong usage, 5 says that nengo-loihi is missing or refused the network.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import traceback
import warnings
from pathlib import Path

sys.dont_write_bytecode = True  # this folder stays as it was emitted
HERE = Path(__file__).resolve().parent


def main(argv=None):
    """Check or compute; return the exit status."""
    args = _arguments(argv)
    missing = [m for m in ("nengo_loihi", "numpy") if importlib.util.find_spec(m) is None]
    if missing:
        said = f"{missing[0]} is missing for {sys.executable}; README.md says how to install it"
        print(f"FAILED: {said}", file=sys.stderr)
        return 5
    warnings.simplefilter("ignore")  # nengo-loihi warns of every nengo that is newer than itself
    try:
        return _check() if args.check else _compute(args)
    except Exception:
        traceback.print_exc()
        return 5


def _arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare every layer with golden.npz")
    parser.add_argument("--input", metavar="NPZ", help="input codes")
    parser.add_argument("--output", metavar="NPZ", help="where the integers of every layer go")
    args = parser.parse_args(argv)
    if args.check == bool(args.input) or bool(args.input) != bool(args.output):
        parser.error("give either --check, or --input and --output")
    if args.input and not Path(args.input).is_file():
        parser.error(f"{args.input}: there is no such file")
    if args.output and HERE in Path(args.output).resolve().parents:
        parser.error(f"{args.output}: this folder stays as it was emitted")
    return args


def _network():
    import blocks
    import numpy as np

    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    with np.load(HERE / "tensors.npz", allow_pickle=False) as npz:
        return manifest, blocks.Network(manifest, {key: npz[key] for key in npz.files})


def _check():
    import numpy as np

    manifest, network = _network()
    changed = [n for n, d in manifest["sha256"].items() if hashlib.sha256((HERE / n).read_bytes()).hexdigest() != d]
    golden = _load(HERE / "golden.npz", manifest)
    values = network.run({v["name"]: golden[v["name"]] for v in manifest["inputs"]})
    bad = [name for name, got in values.items() if not np.array_equal(got, golden[name])]
    for name in bad:
        print(f"different: {name}: {int((values[name] != golden[name]).sum())} of {values[name].size} integers")
    for name in changed:
        print(f"changed: {name}: not the file that was emitted")
    verdict = "FAILED" if bad or changed else "OK"
    total = sum(v.size for v in values.values())
    print(f"{verdict}: {len(values) - len(bad)} of {len(values)} layers equal, {total} integers, {versions()}")
    for name, used in network.utilization().items():
        most = {kind: max(u[kind] for u in used) for kind in used[0]}
        said = ", ".join(f"{has}/{limit} {kind}" for kind, (has, limit) in most.items())
        print(f"  {name}: {len(used)} cores, at most {said}")
    return 1 if bad or changed else 0


def _compute(args):
    import numpy as np

    manifest, network = _network()
    codes = _load(Path(args.input), manifest)
    values = network.run({v["name"]: codes[v["name"]] for v in manifest["inputs"]})
    ids = {layer["name"]: layer["id"] for layer in manifest["layers"]}
    said = {"executed_by": versions(), "thresholds": network.most_thresholds()}
    arrays = {ids[name]: value for name, value in values.items()}
    with Path(args.output).open("wb") as file:
        np.savez(file, said=np.array(json.dumps(said)), **arrays)
    return 0


def versions():
    """Return what computes here."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("nengo-loihi", "nengo", "numpy"))


def _load(path, manifest):
    """Return the arrays of an .npz by value name."""
    import numpy as np

    names = {v["id"]: v["name"] for v in manifest["inputs"] + manifest["layers"]}
    with np.load(path, allow_pickle=False) as npz:
        return {names.get(key, key): npz[key] for key in npz.files}


if __name__ == "__main__":
    sys.exit(main())
