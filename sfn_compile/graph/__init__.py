"""The float graph between ONNX and the Program."""
