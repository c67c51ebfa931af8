"""The network of Layers as something that learns: values, gradients, and descent. Batch axis last, float32.

Used by the pass ``reconstruct``. Nothing here decides an integer: what is learnt are real weights, biases and steps,
from which the later passes choose integers as they always do.
"""
