"""Constants that several of the parity cases share."""

from __future__ import annotations

from .tiny_onnx import noise

W = {"w": noise(4, 3, 3, 3), "b": noise(4, seed=2)}


W1 = {"w": noise(4, 3, 3), "b": noise(4, seed=2)}


BN = {"g": [1.5, -0.7, 0.1], "h": [0.3, -2.0, 0.0], "m": [0.5, 1.0, -1.0], "v": [1.0, 0.2, 3.0]}
