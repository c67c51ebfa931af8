"""A second opinion on the target onnx: equal to the Program for all inputs, proved from the emitted files alone.

The graph is executed on polynomials (their residues at two random points and the origin, modulo a random prime), so
two linear maps are compared as such; what follows an accumulator is compared at its thresholds, or everywhere. The
modules import NumPy and onnx, and nothing of sfnc. What they cannot prove they say.
"""
