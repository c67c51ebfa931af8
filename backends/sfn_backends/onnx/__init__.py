"""Target ``onnx``: the integer network as a plain ONNX graph that stock onnxruntime executes bit for bit.

Standard operators only. Each population is one integer kernel (``QLinearConv``), or float32 sums that are proved exact and
a proved rounding, or int64: ``docs/spec/targets.md`` says which and why.
"""
