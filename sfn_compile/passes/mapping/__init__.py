"""Passes that choose integers: levels, weights, biases, thresholds, ranges."""
