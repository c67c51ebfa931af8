"""Comparisons and logic: small networks as in parity_cases."""

import numpy as np

from .tiny_onnx import noise

LOGIC: dict[str, tuple[str, dict]] = {
    "Greater": ("a = Greater(x, c) b = Cast<to=1>(a) y = Mul(x, b)", {"c": np.float32(0.2)}),
    "GreaterOrEqual": ("a = GreaterOrEqual(c, x) y = Cast<to=1>(a)", {"c": noise(3, 1, 1)}),
    "Less": ("a = Less(x, c) y = Cast<to=1>(a)", {"c": np.float32(0.2)}),
    "LessOrEqual": ("a = LessOrEqual(x, c) y = Cast<to=1>(a)", {"c": np.float32(0.2)}),
    "Equal": ("s = Sign(x) a = Equal(s, c) y = Cast<to=1>(a)", {"c": np.float32(1)}),
    "And": ("a = Greater(x, c) b = Less(x, d) g = And(a, b) y = Cast<to=1>(g)", {"c": np.float32(0.2), "d": noise(6)}),
    "And of branches that broadcast": (
        "m = ReduceMean<axes=[1], keepdims=1>(x) a = Greater(x, c) b = Less(m, c) g = And(a, b) y = Cast<to=1>(g)",
        {"c": np.float32(0.2), "opset": 13}),
    "Or": ("a = Greater(x, c) t = Tanh(x) b = Less(t, d) g = Or(a, b) y = Cast<to=1>(g)",
           {"c": np.float32(0.2), "d": np.float32(-0.2)}),
    "Xor with a constant": ("a = Greater(x, c) g = Xor(t, a) y = Cast<to=1>(g)",
                            {"c": np.float32(0.2), "t": noise(3, 1, 6) > 0}),
    "And with a constant": ("a = Greater(x, c) g = And(a, t) y = Cast<to=1>(g)",
                            {"c": np.float32(0.2), "t": noise(6) > 0}),
    "Or with a constant": ("a = Greater(x, c) g = Or(a, t) n = Not(g) y = Where(n, x, c)",
                           {"c": np.float32(0.2), "t": noise(3, 6, 6) > 0}),
    "Not": ("a = Less(x, c) b = Not(a) y = Cast<to=1>(b)", {"c": np.float32(0.2)}),
    "IsInf of a network": ("a = Softmax<axis=-1>(x) n = IsInf(a) y = Where(n, c, a)", {"c": np.float32(0)}),
}  # fmt: skip
