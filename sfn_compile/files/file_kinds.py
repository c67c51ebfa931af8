"""What kind of file is it that was given? So that a message says what it is and what to give instead."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

NUMPY = "np.savez('data.npz', x=array), first axis the samples, as the model takes them"
TORCH_EXPORT = "export it with torch.onnx.export(model, example, 'model.onnx')"
KERAS_EXPORT = "convert it with tf2onnx (python -m tf2onnx.convert --help) and give the .onnx"


@dataclass(frozen=True)
class Kind:
    """``name`` in a sentence ("it is ..."); what to do where it was given as ``data`` or ``model``, "": nothing."""

    name: str
    data: str
    model: str


def _image(name: str) -> Kind:
    data = "read the images, prepare them as in training, and save them: np.savez('data.npz', x=images)"
    return Kind(name, data, "give the network as .onnx; samples are given with --calib or --data")


def _archive(name: str) -> Kind:
    return Kind(name, "unpack it and give the .npz or .npy in it", "unpack it and give the .onnx in it")


_TORCH = Kind("a PyTorch file (weights or a pickled module)", f"save the samples for NumPy: {NUMPY}", TORCH_EXPORT)
_PICKLE = Kind("a Python pickle, which is never opened", f"save the samples for NumPy: {NUMPY}", TORCH_EXPORT)
_HDF5 = Kind("an HDF5 file", f"read the samples with h5py and save them: {NUMPY}", KERAS_EXPORT)
_NIR = Kind(
    "a NIR network (HDF5)",
    f"data are samples: {NUMPY}",
    "sfnc reads .nir where the importer of its back end nir is installed: install sfnc anew, or give the .onnx",
)
_TABLE = Kind("text", f"read the table (np.loadtxt, pandas) and save it: {NUMPY}", "give the network as .onnx")
_ONNX = Kind("an ONNX model", f"data are samples: {NUMPY}", "")
_NUMPY = Kind("a NumPy file", "", "give the network as .onnx; samples are given with --calib or --data")
_TFLITE = Kind("a TensorFlow Lite model", f"data are samples: {NUMPY}",
               "convert it with tf2onnx (python -m tf2onnx.convert --tflite FILE --output model.onnx)")  # fmt: skip
_TENSORFLOW = Kind("a TensorFlow graph", f"data are samples: {NUMPY}", KERAS_EXPORT)
_KERAS = Kind("a Keras model", f"data are samples: {NUMPY}", KERAS_EXPORT)
_SAFETENSORS = Kind("a safetensors file, which holds weights and no network",
                    f"save the samples for NumPy: {NUMPY}", f"load it into its model and {TORCH_EXPORT}")  # fmt: skip
_BUILD = Kind("an sfnc build", "", "give the .onnx that it was made from; in the build it is model.onnx")
_SAVED_MODEL = Kind("a TensorFlow SavedModel", f"data are samples: {NUMPY}",
                    "convert it: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx")  # fmt: skip
_SUFFIXES = {
    ".jpg": _image("a JPEG image"), ".jpeg": _image("a JPEG image"), ".png": _image("a PNG image"),
    ".bmp": _image("an image"), ".gif": _image("an image"), ".tif": _image("an image"), ".tiff": _image("an image"),
    ".webp": _image("an image"), ".pt": _TORCH, ".pth": _TORCH, ".ckpt": _TORCH, ".pkl": _PICKLE, ".pickle": _PICKLE,
    ".nir": _NIR, ".h5": _HDF5, ".hdf5": _HDF5, ".keras": _KERAS, ".tflite": _TFLITE, ".pb": _TENSORFLOW,
    ".safetensors": _SAFETENSORS, ".csv": _TABLE, ".tsv": _TABLE, ".txt": _TABLE, ".json": _TABLE, ".onnx": _ONNX,
    ".gz": _archive("a gzip archive"), ".tgz": _archive("a gzip archive"), ".tar": _archive("a tar archive"),
    ".zip": _archive("a zip archive"), ".npz": _NUMPY, ".npy": _NUMPY,
}  # fmt: skip
_MAGIC = (
    (b"\xff\xd8\xff", _SUFFIXES[".jpg"]), (b"\x89PNG\r\n", _SUFFIXES[".png"]), (b"GIF8", _SUFFIXES[".gif"]),
    (b"BM", _SUFFIXES[".bmp"]), (b"\x1f\x8b", _SUFFIXES[".gz"]), (b"\x89HDF\r\n", _HDF5),
    (b"\x93NUMPY", _NUMPY), (b"\x80\x02", _PICKLE), (b"\x80\x03", _PICKLE), (b"\x80\x04", _PICKLE),
    (b"\x80\x05", _PICKLE),
)  # fmt: skip


def kind_of(path: Path) -> Kind | None:
    """Return what a file or folder is, by its first bytes and its name; None where neither tells."""
    if path.is_dir():
        return _folder(path)
    named = _SUFFIXES.get(path.suffix.lower())
    if not path.is_file():
        return None  # a pipe or a device: reading it could wait for ever
    try:
        with path.open("rb") as file:
            first = file.read(16)
    except OSError:
        return named
    if first.startswith(b"PK\x03\x04"):
        return _zip(path, named)
    if first[4:8] == b"TFL3":
        return _TFLITE
    found = next((kind for magic, kind in _MAGIC if first.startswith(magic)), None)
    if found is _HDF5 and named is _NIR:
        return _NIR
    if found is _PICKLE and named is _TORCH:
        return _TORCH
    return found or named


def _zip(path: Path, named: Kind | None) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return named
    if any(name.endswith("data.pkl") for name in names):
        return _TORCH
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return _KERAS
    return _NUMPY if names and all(name.endswith(".npy") for name in names) else _SUFFIXES[".zip"]


def _folder(path: Path) -> Kind:
    if (path / "saved_model.pb").exists():
        return _SAVED_MODEL
    if (path / "manifest.json").exists() and (path / "program.json").exists():
        return _BUILD
    models = sorted(p.name for p in path.glob("*.onnx"))
    data = sorted(p.name for p in path.glob("*.np[yz]"))
    give_model = f"give the file in it: {path.name}/{models[0]}" if models else "give a file, model.onnx"
    give_data = f"give the file in it: {path.name}/{data[0]}" if data else f"put the samples into one file: {NUMPY}"
    return Kind("a folder", give_data, give_model)
