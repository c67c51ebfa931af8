"""The network of Layers as something that learns: values, gradients, and descent. Batch axis last, float32.

What is learnt are real weights and biases. Steps and integer thresholds stay as quantize-weights chose them; integer
weights are the nearest on the grid that they make, with ranges proved anew, and offsets are folded as always.
"""
