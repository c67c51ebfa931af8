# mypy: ignore-errors
"""Run this network in lava-nc 0.10.0: ``python run.py --check``, ``--images samples.npz`` (prints classes), or
``--input codes.npz --output values.npz``.

Arrays are named by the ``id`` of a value in manifest.json, or by its name; the first axis counts samples. Exit status:
0 done (and equal to golden.npz, with --check), 1 different, 2 wrong usage, 5 Lava is missing, died or took too long.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import traceback
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True  # this folder stays as it was emitted
import guard  # noqa: E402

HERE = Path(__file__).resolve().parent


def main(argv=None):
    """Start the guarded run, or be it; return the exit status."""
    args = _arguments(argv)
    if guard.inside():
        guard.watch()
        return _executed(_check if args.check else _classify if args.images else _compute, args)
    missing = _missing()
    if missing:
        return _without(missing)
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
    parser.add_argument("--images", metavar="NPZ", help="samples as the model takes them; prints their classes")
    parser.add_argument("--output", metavar="NPZ", help="where the integers of every layer go")
    parser.add_argument("--report", metavar="JSON", help="where versions and mode go")
    parser.add_argument("--layers", metavar="ID,...", help="only these layers, each alone, fed with the input's codes")
    parser.add_argument("--mode", choices=("auto", "whole", "layerwise"), default="auto", help="default: auto")
    parser.add_argument("--whole-limit", type=float, default=60.0, metavar="S", help="auto: layerwise above (60 s)")
    parser.add_argument("--time-limit", type=float, default=600.0, metavar="S", help="end the run after (600 s)")
    args = parser.parse_args(argv)
    if sum(map(bool, (args.check, args.input, args.images))) != 1 or bool(args.input) != bool(args.output):
        parser.error("give either --check, or --images, or --input and --output")
    for path in (args.input, args.images):
        if path and not Path(path).is_file():
            parser.error(f"{path}: there is no such file")
    for path in (args.output, args.report):
        fault = _overwritten(path, args)
        if fault:
            parser.error(f"{path} would be overwritten: {fault}")
    return args


def _overwritten(path, args):
    """Return why nothing may be written to ``path``, None where it may."""
    if path is None:
        return None
    place = Path(os.path.realpath(path))
    if HERE in place.parents:
        return "this folder stays as it was emitted"
    if not place.exists():
        return None
    if not place.is_file():
        return "it is no regular file"
    others = {args.input, args.output, args.report} - {path, None}
    emitted = [file for file in HERE.rglob("*") if file.is_file()]
    if any(Path(other).exists() and place.samefile(other) for other in (*others, *emitted)):
        return "this program reads or writes it otherwise"
    known = _is_values(place) if path == args.output else _is_report(place)
    return None if known or not place.stat().st_size else "it exists, and this program has not written it"


def _is_values(path):
    """Return whether a file holds the integers of layers and nothing else: not the codes of an input either."""
    ids = {name for layer in _manifest()["layers"] for name in (layer["id"], f"{layer['id']}.charge")}
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()} <= ids
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_report(path):
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))) == {"executed_by", "mode"}
    except (OSError, ValueError, TypeError):
        return False


def _missing():
    """Return what is not installed for this Python, '' where everything is."""
    for module, package in (("lava.magma", "lava-nc"), ("numpy", "NumPy"), ("scipy", "SciPy")):
        try:
            found = importlib.util.find_spec(module)
        except Exception:  # whatever another package of that name does
            found = None
        if found is None:
            return package
    try:
        importlib.metadata.version("lava-nc")
    except importlib.metadata.PackageNotFoundError:
        return "lava-nc"
    return ""


def _without(what):
    print(f"FAILED: {what} is missing for {sys.executable}; README.md says how to install it", file=sys.stderr)
    return 5


def _executed(work, args):
    """Return the exit status of ``work``; where it died, that is no difference."""
    try:
        return work(args)
    except ImportError as error:
        return _without(error.name or str(error))
    except Exception:
        traceback.print_exc()
        return 5


def _check(args):
    import jobs
    import numpy as np

    manifest = _manifest()
    changed = [n for n, d in manifest["sha256"].items() if hashlib.sha256((HERE / n).read_bytes()).hexdigest() != d]
    golden = _load(HERE / "golden.npz", manifest)
    values, mode = jobs.execute(HERE, manifest, golden, args.mode, args.whole_limit)
    values = {name: got for name, got in values.items() if name in golden}
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


def _classify(args):
    """Print the class of every sample, and how many are right where there are labels."""
    import jobs
    import numpy as np
    from host import Elsewhere, Host

    manifest = _manifest()
    with np.load(HERE / "host.npz", allow_pickle=False) as npz:
        host = Host(manifest, {key: npz[key] for key in npz.files})
    with np.load(args.images, allow_pickle=False) as npz:
        given = {key: npz[key] for key in npz.files}
    labels = given.pop("labels", given.pop("y", None))
    names = [entry["name"] for entry in host.inputs]
    if len(names) == 1 and len(given) == 1:
        given = {names[0]: next(iter(given.values()))}
    if not set(names) <= set(given):
        return _wrong(f"{args.images} has the arrays {sorted(given)}; needed are {names}")
    try:
        codes = host.encode(given)
        values, _ = jobs.execute(HERE, manifest, codes, args.mode, args.whole_limit)
        found = host.classes(values)
    except (Elsewhere, ValueError) as error:
        return _wrong(str(error))
    if not found:
        return _wrong("no output of this network has classes; sfnc run OUT --on lava writes its outputs")
    for name, classes in found.items():
        for i, number in enumerate(classes):
            print(f"{i} {number}" if len(found) == 1 else f"{name} {i} {number}")
        if labels is not None and labels.shape == classes.shape:
            print(f"{name}: {int((classes == labels).sum())} of {len(labels)} labels")
    return 0


def _wrong(what):
    print(f"FAILED: {what}", file=sys.stderr)
    return 2


def _compute(args):
    import jobs
    import numpy as np

    manifest = _manifest()
    codes = _load(Path(args.input), manifest)
    only = args.layers.split(",") if args.layers else None
    values, mode = jobs.execute(HERE, manifest, codes, args.mode, args.whole_limit, only)
    ids = {layer["name"]: layer["id"] for layer in manifest["layers"]}
    ids |= {f"{name}.charge": f"{key}.charge" for name, key in ids.items()}
    _write(args.output, lambda file: np.savez(file, **{ids[name]: value for name, value in values.items()}))
    if args.report:
        said = json.dumps({"executed_by": jobs.versions(), "mode": mode}).encode()
        _write(args.report, lambda file: file.write(said))
    return 0


def _write(path, content):
    """Write a file beside its place and move it there."""
    place = Path(os.path.realpath(path))
    scratch = place.with_name(f".{place.name}.sfnc-{os.urandom(4).hex()}")
    try:
        with scratch.open("xb") as file:
            content(file)
        scratch.replace(place)
    finally:
        scratch.unlink(missing_ok=True)


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
