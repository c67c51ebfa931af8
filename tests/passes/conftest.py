"""Lets these tests use the tiny ONNX models of ``tests/frontend``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "frontend"))
