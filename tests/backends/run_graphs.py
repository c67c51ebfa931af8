"""Run graphs in onnxruntime, in a process of its own: ``python run_graphs.py FOLDER``.

For every ``NAME.onnx`` in the folder, with the inputs of ``NAME.npz``, the outputs become ``NAME.out.npz``. Imports
NumPy and onnxruntime only, so that it runs under an emulated processor too.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def main(folder: Path) -> None:
    """Run all graphs of a folder, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for path in sorted(folder.glob("*.onnx")):
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        with np.load(path.with_suffix(".npz")) as feeds:
            found = session.run(None, dict(feeds))
        np.savez(path.with_suffix(".out.npz"), **{o.name: v for o, v in zip(session.get_outputs(), found, strict=True)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
