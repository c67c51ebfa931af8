"""ONNX to the float graph: load and check the file, fold constants, import every node or refuse all that cannot be."""

from __future__ import annotations

from .importer import import_model
from .load import LoadedModel, load_model

__all__ = ["LoadedModel", "import_model", "load_model"]
