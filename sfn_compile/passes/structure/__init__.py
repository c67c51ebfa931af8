"""Passes that keep the real numbers: from imported nodes to Layers."""
