"""Runs the .nir files of this folder in a reader: NumPy, nir and the reader are enough.

    python run_nir.py --reader norse --check                   # the samples of golden.npz, every layer compared
    python run_nir.py --reader norse --input x.npy --check     # samples of your own, compared with NumPy
    python run_nir.py --reader norse --input x.npy --output y.npz

x.npy: samples first. Integers are codes of the network's input; floats are real values, and are encoded as README.md
says. Exit status: 0; 1 where an integer differs; 2 wrong usage; 3 an input that does not fit; 5 a missing reader.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # this folder is sealed
READERS = ("norse", "sinabs", "snntorch", "spikingjelly", "nirtorch", "numpy")


class Refused(Exception):
    """What is wrong, and the exit status."""


def main(words: list[str]) -> int:
    """Run what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=READERS, required=True, help="numpy is the evaluator of this folder")
    parser.add_argument("--input", type=Path, metavar="X.npy", help="samples; without it those of golden.npz")
    parser.add_argument("--output", type=Path, metavar="Y.npz", help="write the integers of the outputs, by name")
    parser.add_argument("--check", action="store_true", help="compare every layer: with golden.npz, or with NumPy")
    asked = parser.parse_args(words)
    try:
        return run(asked)
    except Refused as reason:
        text, status = reason.args
        print(f"run_nir.py: {text}", file=sys.stderr)
        return int(status)


def run(asked: argparse.Namespace) -> int:
    """Run every file in the reader; return 1 where an integer differs, else 0."""
    paths, texts = files_for(asked.reader)
    entry = texts[0]["program"]["inputs"][0]
    golden = None if asked.input else read_golden()
    codes = golden[entry["value"]] if golden else encoded(load(asked.input), entry, texts[0]["arrays"])
    different, results = 0, dict[str, np.ndarray]()
    for path, text in zip(paths, texts, strict=True):
        names = list(text["values"]) if asked.check else text["results"]
        values = execute(asked.reader, path, codes, {name: text["values"][name] for name in names})
        results |= {name: values[name] for name in text["results"] if name in values}
        if asked.check:
            expected = golden or execute("numpy", path, codes, text["values"])
            wrong = sum(int((values[name] != expected[name]).sum()) for name in names)
            size, source = sum(values[name].size for name in names), "golden.npz" if golden else "NumPy"
            print(f"{path.name} in {name_of(asked.reader)}: {len(codes)} samples, {len(names)} layers, "
                  f"{size:,} integers, {wrong:,} differ from {source}")  # fmt: skip
            different += wrong
    report(results, texts[0], asked.output)
    return 1 if different else 0


def files_for(reader: str) -> tuple[list[Path], list[dict[str, Any]]]:
    """Return the files that a reader takes, and the JSON text of each. snnTorch reads LIF neurons, the others IF."""
    import nir

    first = described(nir, FOLDER / "network.nir")
    known = ("nirtorch", "numpy") if first["form"] != "binary" else tuple(r for r in READERS if r != "nirtorch")
    if reader not in known:
        raise Refused(f"files of the form {first['form']} run in {', '.join(known)}", 2)
    ending = "_lif" if reader == "snntorch" else ""
    names = [f"network{f'_{i + 1}' if i else ''}{ending}.nir" for i in range(first["parts"])]
    return [FOLDER / name for name in names], [described(nir, FOLDER / name) for name in names]


def described(nir: Any, path: Path) -> dict[str, Any]:
    """Return what a file's metadata says: see README.md."""
    text = nir.read(path).metadata["sfnc"]
    return dict(json.loads(text.decode() if isinstance(text, bytes) else text))


def read_golden() -> dict[str, np.ndarray]:
    """Return the samples of golden.npz: the integers of the input and of every layer, by name."""
    with np.load(FOLDER / "golden.npz", allow_pickle=False) as data:
        return {str(name): data[f"v{i:04d}"] for i, name in enumerate(data["names"])}


def load(path: Path) -> np.ndarray:
    """Return the array of a .npy file."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise Refused(f"cannot read {path}: {error}", 3) from error


def encoded(x: np.ndarray, entry: dict[str, Any], arrays: dict[str, Any]) -> np.ndarray:
    """Return codes ``(n, *shape)``: integers as they are, real values by ``clip(floor(x / step + 1/2), lo, hi)``."""
    shape = tuple(entry["shape"])
    if x.shape[1:] != shape and x.shape[1:] != tuple(entry["model_shape"]):
        raise Refused(f"samples have the shape {x.shape[1:]}, the network takes {shape}", 3)
    if x.dtype.kind in "iub":
        codes = x.astype(np.int64)
    elif entry["host"] or entry["rounding"] != "half_up":
        raise Refused("this network's inputs are prepared outside of it (README.md): give integer codes", 3)
    else:
        step = arrays[entry["step"]["array"]]
        size = np.array(step["data"], step["dtype"]).reshape(step["full"])
        codes = np.clip(np.floor(x.astype(np.float64).reshape(-1, *shape) / size + 0.5), entry["lo"], entry["hi"])
    if codes.size and (codes.min() < entry["lo"] or codes.max() > entry["hi"]):
        raise Refused(f"codes must be in {entry['lo']}..{entry['hi']}; for real values give floats", 3)
    return codes.reshape(-1, *shape).astype(np.int64)


def execute(reader: str, path: Path, codes: np.ndarray, values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the integers of some layers by name."""
    from read_values import decode  # type: ignore[import-not-found, unused-ignore]

    nodes = sorted({where["node"] for where in values.values()})
    if reader == "numpy":
        import evaluator  # type: ignore[import-not-found, unused-ignore]

        found = evaluator.run(path, codes, nodes)
    else:
        import readers  # type: ignore[import-not-found, unused-ignore]

        try:
            found = readers.run(reader, path, codes, nodes)
        except ImportError as error:
            raise Refused(f"{reader} cannot be imported ({error}): pip install {reader}, with torch", 5) from error
    return {name: decode(found[where["node"]], where) for name, where in values.items()}


def name_of(reader: str) -> str:
    """Return the reader with its version."""
    try:
        return f"{reader} {version(reader)}"
    except PackageNotFoundError:
        return reader


def report(results: dict[str, np.ndarray], text: dict[str, Any], path: Path | None) -> None:
    """Print the classes of outputs that are vectors, and write what was asked for."""
    kept = {}
    for output in text["program"]["outputs"]:
        found = results.get(output["value"])
        if found is None:
            continue
        kept[output["name"]] = found
        if found.ndim == 2 and found.shape[1] > 1:
            print(f"{output['name']}: largest at {', '.join(map(str, found.argmax(axis=1)[:20].tolist()))}"
                  f"{' ...' if len(found) > 20 else ''}")  # fmt: skip
    if path:
        np.savez(path, **kept)  # type: ignore[arg-type, unused-ignore]
        print(f"wrote {path}: integers of {', '.join(kept)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
