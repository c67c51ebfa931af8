"""From an ONNX file and calibration data to a Program, in memory."""
