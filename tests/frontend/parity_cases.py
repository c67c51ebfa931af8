"""One small network per operator and form of it, in the language of tiny_onnx, with its constants."""

import numpy as np

from .parity_logic import LOGIC
from .parity_places import PLACES
from .parity_weights import BN, W1, W
from .tiny_onnx import ints, noise

# what the sentence says -> (body, keywords of `tiny`)
CASES: dict[str, tuple[str, dict]] = {
    # -- Conv
    "Conv 2-D": ("y = Conv(x, w, b)", W),
    "Conv without bias": ("y = Conv(x, w)", {"w": W["w"]}),
    "Conv with strides and asymmetric pads": ("y = Conv<strides=[2,3], pads=[0,1,2,3]>(x, w, b)", W),
    "Conv with dilations": ("y = Conv<dilations=[2,1], pads=[2,1,2,1]>(x, w, b)", W),
    "Conv SAME_UPPER": ('y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w, b)', W),
    "Conv SAME_LOWER": ('y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w, b)', W),
    "Conv SAME_LOWER of an even kernel": ('y = Conv<auto_pad="SAME_LOWER">(x, w)', {"w": noise(2, 3, 2, 4)}),
    "Conv VALID": ('y = Conv<auto_pad="VALID", strides=[2,1]>(x, w, b)', W),
    "Conv with groups": ("y = Conv<group=2>(x, w)", {"x": (4, 5, 5), "w": noise(6, 2, 3, 3)}),
    "Conv depthwise": ("y = Conv<group=3, pads=[1,1,1,1]>(x, w)", {"w": noise(3, 1, 3, 3)}),
    "Conv depthwise with a multiplier": ("y = Conv<group=3>(x, w)", {"w": noise(6, 1, 2, 2)}),
    "Conv 1-D": ("y = Conv<strides=[2], pads=[0,2], dilations=[2]>(x, w, b)", {"x": (3, 9), **W1}),
    "Conv 1-D SAME_LOWER": ('y = Conv<auto_pad="SAME_LOWER", strides=[2]>(x, w, b)', {"x": (3, 8), **W1}),
    "Conv at opset 11": ("y = Conv<pads=[1,1,1,1]>(x, w, b)", {**W, "opset": 11}),
    "Conv at opset 22": ("y = Conv<pads=[1,1,1,1]>(x, w, b)", {**W, "opset": 22}),
    # -- Gemm, MatMul
    "Gemm": ("y = Gemm(x, w)", {"x": (5,), "w": noise(5, 4)}),
    "Gemm with alpha, beta, transB and a bias": (
        "y = Gemm<alpha=0.5, beta=-2.0, transB=1>(x, w, b)", {"x": (5,), "w": noise(4, 5), "b": noise(4)}),
    "Gemm with a bias row": ("y = Gemm(x, w, b)", {"x": (5,), "w": noise(5, 4), "b": noise(1, 4)}),
    "Gemm with one bias number": ("y = Gemm(x, w, b)", {"x": (5,), "w": noise(5, 4), "b": noise(1)}),
    "Gemm with a scalar bias": ("y = Gemm<beta=3.0>(x, w, b)", {"x": (5,), "w": noise(5, 4), "b": np.float32(2)}),
    "MatMul with a constant right": ("y = MatMul(x, w)", {"x": (5,), "w": noise(5, 4)}),
    "MatMul of a matrix with a constant right": ("y = MatMul(x, w)", {"x": (3, 5), "w": noise(5, 4)}),
    "MatMul with a constant right of rank 3": ("y = MatMul(x, w)", {"x": (3, 5), "w": noise(1, 5, 4)}),
    "MatMul with a constant left": ("y = MatMul(w, x)", {"x": (3, 5), "w": noise(4, 3)}),
    "MatMul with a constant left of maps": ("y = MatMul(w, x)", {"x": (2, 3, 5), "w": noise(1, 4, 3)}),
    "MatMul with a constant left for each head": ("y = MatMul(w, x)", {"x": (2, 3, 5), "w": noise(1, 2, 4, 3)}),
    "MatMul with constants left that enlarge": ("y = MatMul(w, x)", {"x": (1, 3, 5), "w": noise(2, 4, 3)}),
    "MatMul with a constant right for each head": ("y = MatMul(x, w)", {"x": (2, 3, 5), "w": noise(2, 5, 4)}),
    "MatMul of two values": ("a = Tanh(x) b = Transpose<perm=[0,1,3,2]>(x) y = MatMul(a, b)", {"x": (2, 3, 5)}),
    "MatMul of values that broadcast": (
        "a = ReduceMean<axes=[1], keepdims=1>(x) y = MatMul(x, a)", {"x": (2, 4, 4), "opset": 13}),
    "MatMul of values of different rank in a batch of one": (
        "a = ReduceMean<axes=[1], keepdims=0>(x) y = MatMul(a, x)", {"x": (2, 4, 4), "opset": 13, "batch": 1}),
    # -- Einsum
    "Einsum of a matrix product": (
        'a = Tanh(x) y = Einsum<equation="bij,bkj->bik">(x, a)', {"x": (3, 5)}),
    "Einsum of heads": (
        'a = Tanh(x) y = Einsum<equation="bqhd, bkhd -> bhqk">(x, a)', {"x": (3, 2, 4)}),
    "Einsum over two axes at once": (
        'a = Tanh(x) y = Einsum<equation="bqhd,bkhd->bkq">(x, a)', {"x": (3, 2, 4)}),
    "Einsum of an outer product": (
        'a = ReduceMean<axes=[2], keepdims=0>(x) y = Einsum<equation="bij,bk->bkij">(x, a)',
        {"x": (3, 5), "opset": 13}),
    "Einsum of numbers by numbers": ('a = Tanh(x) y = Einsum<equation="bij,bij->bji">(x, a)', {"x": (3, 5)}),
    "Einsum with sums of one operand": (
        'a = Tanh(x) y = Einsum<equation="bijk,blmj->bil">(x, a)', {"x": (3, 2, 2)}),
    "Einsum of one value": ('y = Einsum<equation="bijk->bki">(x)', {"x": (3, 2, 4)}),
    "Einsum without an arrow": ('y = Einsum<equation="bji">(x)', {"x": (3, 2)}),
    "Einsum with a matrix": ('y = Einsum<equation="bij,jk->bki">(x, w)', {"x": (3, 5), "w": noise(5, 4)}),
    "Einsum with a constant first": ('y = Einsum<equation="khd,bhdq->bqk">(w, x)',
                                     {"x": (2, 5, 3), "w": noise(4, 2, 5)}),
    "Einsum with a constant that is summed": ('y = Einsum<equation="bij,jkl->bik">(x, w)',
                                              {"x": (3, 5), "w": noise(5, 4, 2)}),
    "Einsum with a matrix for each head": (
        'y = Einsum<equation="bqhd,hdo->bhqo">(x, w)', {"x": (3, 2, 4), "w": noise(2, 4, 5)}),
    "Einsum with a scale": ('y = Einsum<equation="bij,j->bij">(x, w)', {"x": (3, 5), "w": noise(5)}),
    # -- normalisation
    "LayerNormalization": ("y = LayerNormalization(x, w, b)", {"x": (4, 6), "w": noise(6), "b": noise(6, seed=1)}),
    "LayerNormalization over several axes": (
        "y = LayerNormalization<axis=1, epsilon=0.01>(x, w)", {"x": (4, 6), "w": noise(4, 6)}),
    "LayerNormalization from an axis counted from the last": (
        "y = LayerNormalization<axis=-2>(x, w)", {"x": (3, 4, 6), "w": noise(4, 6)}),
    "LayerNormalization of a vector": ("y = LayerNormalization(x, w)", {"x": (6,), "w": noise(6)}),
    "RMSNormalization": ("y = RMSNormalization<epsilon=0.01>(x, w)", {"x": (4, 6), "w": noise(6), "opset": 23}),
    "SimplifiedLayerNormalization of onnxruntime": (
        "y = SimplifiedLayerNormalization<axis=-1, epsilon=0.001>(x, w)", {"x": (4, 6), "w": noise(6)}),
    "InstanceNormalization": (
        "y = InstanceNormalization<epsilon=0.1>(x, w, b)", {"w": noise(3), "b": noise(3, seed=1)}),
    "InstanceNormalization of sequences": (
        "y = InstanceNormalization(x, w, b)", {"x": (3, 7), "w": noise(3), "b": noise(3, seed=1)}),
    "GroupNormalization per group": (
        "y = GroupNormalization<num_groups=2>(x, w, b)",
        {"x": (6, 3, 3), "w": noise(2), "b": noise(2, seed=1), "opset": 18}),
    "GroupNormalization per channel": (
        "y = GroupNormalization<num_groups=2, epsilon=0.1>(x, w, b)",
        {"x": (6, 3, 3), "w": noise(6), "b": noise(6, seed=1), "opset": 21}),
    # -- Attention
    "Attention": ("a = Tanh(x) y = Attention(x, a, x)", {"x": (2, 4, 5), "opset": 23}),
    "Attention that is causal": ("y = Attention<is_causal=1, scale=0.3>(x, x, x)", {"x": (2, 4, 5), "opset": 23}),
    "Attention with a mask of truth values": (
        "y = Attention(x, x, x, m)", {"x": (2, 4, 5), "m": noise(4, 4) + 2 * np.eye(4) > 0, "opset": 23}),
    "Attention with a mask per head": (
        "y = Attention(x, x, x, m)", {"x": (2, 4, 5), "m": noise(1, 2, 4, 4), "opset": 23}),
    "Attention of heads side by side": (
        "y = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x)", {"x": (4, 6), "opset": 23}),
    "Attention of grouped heads": (
        "k = Slice(x, s, e, a) y = Attention<q_num_heads=4, kv_num_heads=2>(x, k, k)",
        {"x": (4, 12), "s": ints(0), "e": ints(6), "a": ints(2), "opset": 23}),
    # -- BatchNormalization
    "BatchNormalization with a negative gamma": ("y = BatchNormalization<epsilon=0.01>(x, g, h, m, v)", BN),
    "BatchNormalization of vectors": ("y = BatchNormalization(x, g, h, m, v)", {"x": (3,), **BN}),
    "BatchNormalization at opset 9": ("y = BatchNormalization(x, g, h, m, v)", {**BN, "opset": 9}),
    # -- arithmetic with constants, residuals
    "Add of a scalar": ("y = Add(x, c)", {"c": np.float32(0.5)}),
    "Add of a column on the left": ("y = Add(c, x)", {"c": noise(3, 1, 1)}),
    "Add of a batch of one": ("y = Add(x, c)", {"c": noise(1, 3, 1, 6)}),
    "Add of a constant that enlarges": ("y = Add(x, c)", {"x": (1, 4, 1), "c": noise(1, 3, 1, 2)}),
    "Mul by a constant that enlarges": ("y = Mul(c, x)", {"x": (1, 6), "c": noise(3, 1)}),
    "Sub of a constant": ("y = Sub(x, c)", {"c": noise(6)}),
    "Sub from a constant": ("y = Sub(c, x)", {"c": noise(3, 6, 6)}),
    "Mul by a row": ("y = Mul(x, c)", {"c": noise(1, 6)}),
    "Mul by a scalar on the left": ("y = Mul(c, x)", {"c": noise(1)}),
    "Div by a column": ("y = Div(x, c)", {"c": noise(3, 1, 1)}),
    "Add of two branches": ("a = Relu(x) y = Add(a, x)", {}),
    "Add of branches that broadcast": ("a = GlobalAveragePool(x) y = Add(x, a)", {}),
    "Sub of branches that broadcast both ways": (
        "a = ReduceMean<axes=[1], keepdims=1>(x) b = ReduceMean<axes=[3], keepdims=1>(x) y = Sub(a, b)",
        {"opset": 13}),
    "Add of a value to itself": ("a = Relu(x) y = Add(a, a)", {}),
    "Sub of two branches": ("a = Relu(x) y = Sub(a, x)", {}),
    "Add of a branch that broadcasts": (
        "a = Relu(x) p = GlobalAveragePool(x) y = Add(a, p)", {}),
    "Add of two branches that broadcast both ways": (
        "p = ReduceMean<axes=[2], keepdims=1>(x) q = ReduceMean<axes=[3], keepdims=1>(x) y = Add(p, q)",
        {"opset": 13}),
    "Add of branches of different rank in a batch of one": (
        "p = ReduceMean<axes=[1,2], keepdims=0>(x) r = Relu(x) y = Add(p, r)", {"opset": 13, "batch": 1}),
    "Sub of a branch that broadcasts": ("a = Relu(x) p = GlobalAveragePool(x) y = Sub(a, p)", {}),
    "Mul of two branches": ("a = Relu(x) b = Sigmoid(x) y = Mul(a, b)", {}),
    "Mul of a value by itself": ("a = Tanh(x) y = Mul(a, a)", {}),
    "Mul by one number per channel": ("p = GlobalAveragePool(x) s = Sigmoid(p) y = Mul(x, s)", {}),
    "Mul by one number per position": (
        "p = ReduceMean<axes=[1], keepdims=1>(x) s = Sigmoid(p) y = Mul(s, x)", {"opset": 13}),
    "Mul of branches of different rank in a batch of one": (
        "p = ReduceMean<axes=[1], keepdims=0>(x) s = Sigmoid(p) y = Mul(s, x)", {"opset": 13, "batch": 1}),
    # -- several branches
    "Max of two branches": ("a = Tanh(x) b = Sigmoid(x) y = Max(a, b)", {}),
    "Max of a linear value and codes": ("a = Relu(x) b = Conv(x, w) c = Relu(b) d = Conv(x, w, b1) y = Max(c, d)",
                                        {"w": noise(4, 3, 3, 3), "b1": noise(4)}),
    "Max of three branches, one of them broadcast": ("a = Tanh(x) p = GlobalAveragePool(x) y = Max(a, x, p)", {}),
    "Max of one value": ("a = Max(x) y = Relu(a)", {}),
    "Max with a number": ("y = Max(x, c)", {"c": np.float32(0.25)}),
    "Max with a column and a number": ("y = Max(c, x, d)", {"c": noise(3, 1, 1), "d": np.float32(0.1)}),
    "Min of two branches": ("a = Tanh(x) b = Sigmoid(x) y = Min(a, b)", {}),
    "Min of three branches": ("a = Relu(x) b = Sigmoid(x) y = Min(x, a, b)", {}),
    "Min with a number": ("y = Min(c, x)", {"c": np.float32(-0.25)}),
    "Min with a column": ("a = Relu(x) y = Min(a, c, x)", {"c": noise(3, 1, 1)}),
    "Sum of three branches": ("a = Relu(x) b = Tanh(x) y = Sum(a, x, b)", {}),
    "Sum of branches and constants": ("a = Relu(x) y = Sum(c, a, x, d)", {"c": noise(3, 1, 1), "d": noise(6)}),
    "Sum of one value": ("a = Sum(x) y = Relu(a)", {}),
    "Mean of three branches": ("a = Relu(x) b = Tanh(x) y = Mean(a, x, b)", {}),
    "Mean of a branch and a constant": ("a = Relu(x) y = Mean(a, c)", {"c": noise(3, 1, 1)}),
    # -- activations
    "Relu": ("y = Relu(x)", {}),
    "Clip by attributes (ReLU6)": ("y = Clip<min=0.0, max=6.0>(x)", {"opset": 6}),
    "Clip by one attribute": ("y = Clip<max=0.5>(x)", {"opset": 6}),
    "Clip by inputs": ("y = Clip(x, lo, hi)", {"lo": np.float32(-0.5), "hi": np.float32(1), "opset": 11}),
    "Clip by a lower bound alone": ("y = Clip(x, lo)", {"lo": np.float32(-0.5)}),
    "Clip by a lower bound of zero": ("y = Clip(x, lo)", {"lo": np.float32(0)}),
    "Clip by an upper bound alone": ("y = Clip(x, , hi)", {"hi": np.float32(0.7)}),
    "Clip without bounds": ("a = Clip(x) y = Relu(a)", {"opset": 13}),
    "LeakyRelu": ("y = LeakyRelu<alpha=0.2>(x)", {}),
    "LeakyRelu of default slope": ("y = LeakyRelu(x)", {}),
    "Sigmoid": ("y = Sigmoid(x)", {}),
    "Tanh": ("y = Tanh(x)", {}),
    # -- scalar functions
    "LeakyRelu of negative slope": ("y = LeakyRelu<alpha=-0.2>(x)", {}),
    "HardSigmoid": ("y = HardSigmoid<alpha=0.3, beta=0.4>(x)", {}),
    "HardSigmoid of default slope": ("y = HardSigmoid(x)", {}),
    "HardSigmoid that falls": ("y = HardSigmoid<alpha=-0.3>(x)", {}),
    "HardSwish": ("y = HardSwish(x)", {}),
    "Elu": ("y = Elu(x)", {}),
    "Elu with alpha": ("y = Elu<alpha=0.3>(x)", {}),
    "Selu": ("y = Selu(x)", {}),
    "Selu with alpha and gamma": ("y = Selu<alpha=1.2, gamma=0.8>(x)", {}),
    "Celu": ("y = Celu(x)", {}),
    "Celu with alpha": ("y = Celu<alpha=0.4>(x)", {}),
    "PRelu of one slope": ("y = PRelu(x, s)", {"s": np.full((1, 1, 1), 0.3)}),
    "PRelu per channel, slopes of both signs": ("y = PRelu(x, s)", {"s": noise(3, 1, 1)}),
    "PRelu of vectors": ("y = PRelu(x, s)", {"x": (5,), "s": noise(5)}),
    "ThresholdedRelu": ("y = ThresholdedRelu<alpha=0.7>(x)", {}),
    "Shrink": ("y = Shrink<bias=0.2, lambd=0.6>(x)", {}),
    "Softplus": ("y = Softplus(x)", {}),
    "Softsign": ("y = Softsign(x)", {}),
    "Mish": ("y = Mish(x)", {"opset": 18}),
    "Swish": ("y = Swish<alpha=1.3>(x)", {"opset": 24}),
    "Gelu": ("y = Gelu(x)", {"opset": 20}),
    "Gelu by tanh": ('y = Gelu<approximate="tanh">(x)', {"opset": 20}),
    "Gelu of onnxruntime": ("y = com.microsoft.Gelu(x)", {}),
    "BiasGelu of onnxruntime": ("y = com.microsoft.BiasGelu(x, b)", {"x": (4, 6), "b": noise(6)}),
    "FastGelu of onnxruntime": ("y = com.microsoft.FastGelu(x)", {}),
    "FastGelu of onnxruntime with a bias": ("y = com.microsoft.FastGelu(x, b)", {"x": (4, 6), "b": noise(6)}),
    "QuickGelu of onnxruntime": ("y = com.microsoft.QuickGelu(x)", {}),
    "Erf": ("y = Erf(x)", {}),
    "Abs": ("y = Abs(x)", {}),
    "Neg": ("y = Neg(x)", {}),
    "Sign": ("y = Sign(x)", {}),
    "Floor": ("y = Floor(x)", {}),
    "Ceil": ("y = Ceil(x)", {}),
    "Round": ("d = Mul(x, c) e = Round(d) y = Mul(e, c)", {"c": np.float32(0.5)}),
    "Exp": ("y = Exp(x)", {}),
    "Log": ("a = Exp(x) y = Log(a)", {}),
    "Sqrt": ("a = Exp(x) y = Sqrt(a)", {}),
    "Reciprocal": ("a = Exp(x) y = Reciprocal(a)", {}),
    "Sin": ("y = Sin(x)", {}),
    "Cos": ("y = Cos(x)", {}),
    "Atan": ("y = Atan(x)", {}),
    "Pow with exponent 2": ("y = Pow(x, c)", {"c": np.float32(2)}),
    "Pow with exponent 3": ("y = Pow(x, c)", {"c": np.float32(3)}),
    "Pow with exponent 1": ("y = Pow(x, c)", {"c": np.float32(1)}),
    "Pow with exponent -2": ("a = Exp(x) y = Pow(a, c)", {"c": np.float32(-2)}),
    "Pow with exponent 0.5": ("a = Exp(x) y = Pow(a, c)", {"c": np.float32(0.5)}),
    "Pow with an exponent per channel": ("a = Exp(x) y = Pow(a, c)", {"c": noise(3, 1, 1)}),
    "Pow with a constant base": ("y = Pow(c, x)", {"c": np.float32(1.7)}),
    "Max of two functions of one value": ("a = Mul(x, c) y = Max(a, x)", {"c": np.float32(0.1)}),
    "Min with a constant": ("a = Relu(x) y = Min(a, c)", {"c": np.float32(1)}),
    "Where by a comparison": (
        "a = Greater(x, c) e = Exp(x) y = Where(a, x, e)", {"c": np.float32(0.2)}),
    "Where with a constant choice": ("a = Greater(x, c) y = Where(a, x, c)", {"c": np.float32(0.2)}),
    "Where by a constant between two values": ("a = Exp(x) y = Where(m, x, a)", {"m": noise(3, 6, 6) > 0}),
    "Where by a constant, the constant first": ("y = Where(m, c, x)", {"m": noise(6) > 0, "c": noise(3, 1, 1)}),
    "IsNaN of a network": ("a = Softmax<axis=-1>(x) n = IsNaN(a) y = Where(n, c, a)", {"c": np.float32(0)}),
    "Where by a constant": ("y = Where(m, x, c)", {"m": noise(3, 6, 6) > 0, "c": np.float32(0.2)}),
    "Mul of two functions of one value": ("a = Sigmoid(x) y = Mul(x, a)", {}),
    "Div by a function of one value": ("a = Abs(x) b = Add(a, c) y = Div(x, b)", {"c": np.float32(1)}),
    "Div of a constant": ("a = Exp(x) y = Div(c, a)", {"c": noise(3, 1, 1)}),
    # -- pools
    "MaxPool": ("y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)", {}),
    "MaxPool with asymmetric pads": ("y = MaxPool<kernel_shape=[3,3], pads=[0,1,2,1], strides=[2,2]>(x)", {}),
    "MaxPool with ceil_mode": ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", {"x": (2, 6, 8)}),
    "MaxPool with ceil_mode whose last window would start in the padding": (
        "y = MaxPool<kernel_shape=[2,2], strides=[2,2], pads=[1,1,1,1], ceil_mode=1>(x)", {"x": (2, 6, 7)}),
    "MaxPool with dilations": ("y = MaxPool<kernel_shape=[2,3], dilations=[3,2]>(x)", {"x": (2, 7, 7)}),
    "MaxPool with dilations, pads and ceil_mode": (
        "y = MaxPool<kernel_shape=[2,2], dilations=[2,2], pads=[1,1,0,1], strides=[2,2], ceil_mode=1>(x)", {}),
    "MaxPool SAME_UPPER": ('y = MaxPool<kernel_shape=[3,2], strides=[2,2], auto_pad="SAME_UPPER">(x)', {}),
    "MaxPool SAME_LOWER": ('y = MaxPool<kernel_shape=[3,2], strides=[2,2], auto_pad="SAME_LOWER">(x)', {}),
    "MaxPool VALID": ('y = MaxPool<kernel_shape=[4,3], strides=[3,2], auto_pad="VALID">(x)', {}),
    "MaxPool 1-D": ("y = MaxPool<kernel_shape=[3], strides=[2], ceil_mode=1>(x)", {"x": (2, 8)}),
    "AveragePool": ("y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", {}),
    "AveragePool that leaves padding out": ("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", {}),
    "AveragePool that counts padding": (
        "y = AveragePool<kernel_shape=[3,3], pads=[1,0,2,1], count_include_pad=1>(x)", {}),
    "AveragePool with asymmetric pads": (
        "y = AveragePool<kernel_shape=[3,3], pads=[0,1,2,0], strides=[2,2]>(x)", {}),
    "AveragePool with ceil_mode": (
        "y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", {"x": (2, 6, 8), "opset": 19}),
    "AveragePool with ceil_mode that counts padding": (
        "y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1, pads=[1,1,1,1], count_include_pad=1>(x)",
        {"x": (2, 6, 8), "opset": 19}),
    "AveragePool SAME_UPPER": ('y = AveragePool<kernel_shape=[3,2], strides=[2,1], auto_pad="SAME_UPPER">(x)', {}),
    "AveragePool SAME_LOWER that counts padding": (
        'y = AveragePool<kernel_shape=[3,2], auto_pad="SAME_LOWER", count_include_pad=1>(x)', {}),
    "AveragePool 1-D": ("y = AveragePool<kernel_shape=[3], strides=[2], pads=[1,1]>(x)", {"x": (2, 8)}),
    "GlobalAveragePool": ("y = GlobalAveragePool(x)", {}),
    "GlobalAveragePool 1-D": ("y = GlobalAveragePool(x)", {"x": (3, 5)}),
    "GlobalMaxPool": ("y = GlobalMaxPool(x)", {}),
    "ReduceMean over space": ("y = ReduceMean<axes=[2,3]>(x)", {"opset": 13}),
    "ReduceMean over space without keepdims": ("y = ReduceMean<axes=[-1,2], keepdims=0>(x)", {"opset": 13}),
    "ReduceMean over the space of NHWC": ("y = ReduceMean<axes=[1,2], keepdims=0>(x)", {"x": (4, 5, 3), "opset": 13}),
    "ReduceMean over channels": ("y = ReduceMean<axes=[1], keepdims=1>(x)", {"opset": 13}),
    "ReduceMean with axes as input": ("y = ReduceMean<keepdims=1>(x, a)", {"a": ints(2, 3), "opset": 18}),
    "ReduceMean with axes as input, without keepdims": (
        "y = ReduceMean<keepdims=0>(x, a)", {"a": ints(-3, 2), "opset": 18}),
    "ReduceMean over no axis that does nothing": (
        "a = ReduceMean<noop_with_empty_axes=1>(x) y = Relu(a)", {"opset": 18}),
    "ReduceMax over space": ("y = ReduceMax<axes=[2,3]>(x)", {"opset": 13}),
    "ReduceMax over space without keepdims": ("y = ReduceMax<axes=[-1,2], keepdims=0>(x)", {"opset": 13}),
    "ReduceMax over one axis of NHWC": ("y = ReduceMax<axes=[1], keepdims=0>(x)", {"x": (4, 5, 3), "opset": 13}),
    "ReduceMax with axes as input": ("y = ReduceMax<keepdims=0>(x, a)", {"a": ints(1, 3), "opset": 18}),
    "ReduceSum over space": ("y = ReduceSum<axes=[2,3]>(x)", {"opset": 11}),
    "ReduceSum with axes as input": ("y = ReduceSum<keepdims=0>(x, a)", {"a": ints(-1, 1), "opset": 13}),
    "ReduceMin over space": ("y = ReduceMin<axes=[2,3]>(x)", {"opset": 13}),
    "ReduceMin over one axis without keepdims": ("y = ReduceMin<axes=[2], keepdims=0>(x)", {"opset": 13}),
    "AveragePool with dilations": (
        "y = AveragePool<kernel_shape=[2,3], dilations=[3,2], strides=[1,2]>(x)", {"x": (2, 7, 7), "opset": 19}),
    "AveragePool with dilations that counts padding": (
        "y = AveragePool<kernel_shape=[2,2], dilations=[2,2], pads=[1,0,0,1], count_include_pad=1>(x)",
        {"opset": 19}),
    # -- moves
    "Split of a constant": (
        "a, b = Split<axis=1>(w, s) c = MatMul(x, a) d = MatMul(x, b) y = Sub(c, d)",
        {"x": (3, 5), "w": noise(5, 8), "s": ints(4, 4)}),
    "Split into equal pieces": ("y, z, u = Split<axis=1>(x)", {"outputs": ("y", "z", "u"), "opset": 13}),
    "Split into uneven pieces by attribute": (
        "y, z = Split<axis=-1, split=[1,5]>(x)", {"outputs": ("y", "z"), "opset": 11}),
    "Split into uneven pieces by input": (
        "y, z = Split<axis=2>(x, s)", {"outputs": ("z", "y"), "s": ints(4, 2), "opset": 13}),
    "Split by number of pieces, the last one smaller": (
        "y, z, u, v = Split<axis=3, num_outputs=4>(x)", {"x": (1, 2, 7), "outputs": ("y", "v"), "opset": 18}),
    **LOGIC,
    **PLACES,
    "Gather of one index": ("y = Gather<axis=1>(x, i)", {"i": np.array(1)}),
    "Gather of one index from the end": ("y = Gather<axis=-1>(x, i)", {"i": np.array(-2)}),
    "Gather of indices that rise in equal steps": ("y = Gather<axis=2>(x, i)", {"i": ints(1, 3, 5)}),
    "Gather of one index as a list": ("y = Gather<axis=3>(x, i)", {"i": ints(-1)}),
    "Gather that undoes a flat view of a batch of one": (
        "f = Reshape(x, s) y = Gather(f, i)",
        {"s": ints(-1), "i": np.arange(108).reshape(1, 3, 6, 6), "batch": 1}),
    "Gather in another order": ("y = Gather<axis=1>(x, i)", {"i": ints(2, 0, 1)}),
    "Gather of an index several times": ("y = Gather<axis=-1>(x, i)", {"i": ints(1, 1, -1, 4, 1)}),
    "Gather of a matrix of indices": ("y = Gather<axis=2>(x, i)", {"i": np.array([[0, 5, 1], [-1, 2, 2]])}),
    "Gather of a rank 3 tensor of indices on channels": ("y = Gather<axis=1>(x, i)", {"i": np.array([[[2, 0]]])}),
    "Tile": ("y = Tile(x, r)", {"r": ints(1, 2, 1, 3)}),
    "Tile by one": ("a = Relu(x) y = Tile(a, r)", {"r": ints(1, 1, 1, 1)}),
    "Expand": ("y = Expand(x, s)", {"x": (3, 1, 6), "s": ints(1, 3, 4, 6)}),
    "Expand by a shorter shape": ("y = Expand(x, s)", {"x": (3, 1, 1), "s": ints(4, 5)}),
    "Expand by ones": ("a = Relu(x) y = Expand(a, s)", {"s": ints(1, 1, 1, 1)}),
    "DepthToSpace": ("y = DepthToSpace<blocksize=2>(x)", {"x": (8, 3, 2), "opset": 10}),
    "DepthToSpace in CRD order": ('y = DepthToSpace<blocksize=3, mode="CRD">(x)', {"x": (18, 2, 3), "opset": 13}),
    "SpaceToDepth": ("y = SpaceToDepth<blocksize=2>(x)", {"x": (3, 4, 6)}),
    "a channel shuffle": (
        "a = Reshape(x, s) b = Transpose<perm=[0,2,1,3,4]>(a) y = Reshape(b, t)",
        {"x": (6, 3, 3), "s": ints(0, 2, 3, 3, 3), "t": ints(0, -1, 3, 3)}),
    "Flatten": ("y = Flatten(x)", {}),
    "Flatten with a negative axis": ("y = Flatten<axis=-1>(x)", {"x": (7,)}),
    "Flatten behind axes of length 1": ("y = Flatten<axis=3>(x)", {"x": (1, 1, 7)}),
    "Reshape with 0 and -1": ("y = Reshape(x, s)", {"s": ints(0, 0, -1)}),
    "Reshape with -1 for the batch": ("y = Reshape(x, s)", {"s": ints(-1, 12, 9)}),
    "Reshape with allowzero": ("y = Reshape<allowzero=1>(x, s)", {"s": ints(-1, 4, 27)}),
    "Transpose": ("y = Transpose<perm=[0,2,3,1]>(x)", {"x": (2, 3, 4)}),
    "Squeeze by attribute": ("y = Squeeze<axes=[1,-1]>(x)", {"x": (1, 4, 1), "opset": 11}),
    "Squeeze by input": ("y = Squeeze(x, a)", {"x": (1, 4, 1), "a": ints(3)}),
    "Squeeze of everything": ("y = Squeeze(x)", {"x": (1, 4, 1)}),
    "Unsqueeze by attribute": ("y = Unsqueeze<axes=[1,4]>(x)", {"x": (4, 5), "opset": 11}),
    "Unsqueeze by input": ("y = Unsqueeze(x, a)", {"x": (4, 5), "a": ints(-1, 2)}),
    "Concat of channels": ("a = Relu(x) b = Tanh(x) y = Concat<axis=1>(a, b, x)", {}),
    "Concat of constant channels behind": ("y = Concat<axis=1>(x, c)", {"c": noise(1, 2, 6, 6), "batch": 1}),
    "Concat of constants before, between and behind": (
        "a = Relu(x) y = Concat<axis=3>(c, d, x, c, a, d)",
        {"c": noise(1, 3, 6, 2), "d": noise(1, 3, 6, 1), "batch": 1}),
    "Concat of a class token": ("y = Concat<axis=1>(c, x)", {"x": (4, 5), "c": noise(1, 1, 5), "batch": 1}),
    "Concat of rows by a negative axis": ("a = Relu(x) y = Concat<axis=-2>(a, x)", {}),
    "Slice by attributes": ("y = Slice<starts=[1,-4], ends=[3,-1], axes=[1,3]>(x)", {"opset": 9}),
    "Slice by attributes without axes": ("y = Slice<starts=[0,1], ends=[9,2]>(x)", {"opset": 9}),
    "Slice by inputs with steps": (
        "y = Slice(x, s, e, a, t)", {"s": ints(-5, 0), "e": ints(2**62, -1), "a": ints(-1, 2), "t": ints(2, 3)}),
    "Slice backwards": (
        "y = Slice(x, s, e, a, t)",
        {"s": ints(-1, 4), "e": ints(-(2**62), 1), "a": ints(1, 3), "t": ints(-1, -2)}),
    "Slice backwards and forwards": (
        "y = Slice(x, s, e, a, t)", {"s": ints(5, 1), "e": ints(0, 6), "a": ints(2, 3), "t": ints(-2, 2)}),
    "Slice backwards and cut at the end": (
        "y = Slice(x, s, e, a, t)", {"s": ints(0, -1), "e": ints(2, -9), "a": ints(1, 2), "t": ints(1, -1)}),
    "Slice that keeps the batch": ("y = Slice(x, s, e)", {"s": ints(0, 1), "e": ints(2**62, 3)}),
    "Pad by attributes": ('y = Pad<mode="constant", pads=[0,1,2,0,0,0,1,3]>(x)', {"opset": 2}),
    "Pad by inputs": ("y = Pad(x, p)", {"p": ints(0, 0, 1, 2, 0, 0, 3, 4), "opset": 11}),
    "Pad with a zero value": ("y = Pad(x, p, z)", {"p": ints(0, 0, 1, 2, 0, 0, 3, 4), "z": np.float32(0)}),
    "Pad with negative pads": ("y = Pad(x, p)", {"p": ints(0, 0, -1, 2, 0, 1, -2, -3)}),
    "Pad with axes": ("y = Pad(x, p, , a)", {"p": ints(1, 0, 2, 3), "a": ints(-1, 1), "opset": 18}),
    "Pad by reflection": (
        'y = Pad<mode="reflect">(x, p)', {"p": ints(0, 0, 2, 1, 0, 0, 0, 5), "opset": 11}),
    "Pad with the edge": ('y = Pad<mode="edge", pads=[0,1,2,0,0,0,1,3]>(x)', {"opset": 2}),
    "Pad around": ('y = Pad<mode="wrap">(x, p)', {"p": ints(0, 0, 2, 0, 0, 0, 3, 7), "opset": 19}),
    "Pad by reflection with negative pads": (
        'y = Pad<mode="reflect">(x, p)', {"p": ints(0, 0, -2, 1, 0, 0, 2, 2), "opset": 13}),
    "Pad with ones": ("y = Pad(x, p, o)", {"p": ints(0, 0, 1, 2, 0, 0, 3, 4), "o": np.float32(1)}),
    "Pad with ones and negative pads": (
        "y = Pad(x, p, o)", {"p": ints(0, 0, -1, 2, 0, 0, 3, -4), "o": np.float32(1)}),
    "Identity": ("a = Identity(x) b = Relu(a) y = Identity(b)", {}),
    "Dropout": ("a = Dropout(x) y = Relu(a)", {}),
    "Dropout with a ratio at opset 11": ("a = Dropout<ratio=0.5>(x) y = Relu(a)", {"opset": 11}),
    "Dropout with training_mode off": (
        "a = Dropout(x, r, t) y = Relu(a)", {"r": np.float32(0.5), "t": np.array(False)}),
    "Cast to float": ("a = Cast<to=1>(x) y = Relu(a)", {"dtype": "uint8"}),
    "Cast of signed bytes": ("a = Cast<to=1>(x) y = Relu(a)", {"dtype": "int8"}),
    "Constant tensor": ("c = Constant<value = float[3,1,1] {1.0, 2.0, -3.0}>() y = Mul(x, c)", {}),
    "Constant of one float": ("c = Constant<value_float = 0.25>() y = Add(x, c)", {}),
    "Constant of floats": ("c = Constant<value_floats = [1.0,2.0,3.0,4.0,5.0,6.0]>() y = Add(x, c)", {}),
    "Constant of ints": ("c = Constant<value_ints = [0,-1]>() y = Reshape(x, c)", {}),
    # -- Resize, ConvTranspose: more in test_resampling.py
    "Resize to the nearest": ("y = Resize(x, , s)", {"s": np.array([1.0, 1, 2, 1.5])}),
    "Resize by sizes": ("y = Resize(x, , , s)", {"s": ints(1, 3, 9, 4), "batch": 1}),
    "Resize at opset 10": ('y = Resize<mode="linear">(x, s)', {"s": np.array([1.0, 1, 2, 3]), "opset": 10}),
    "Upsample at opset 9": ("y = Upsample(x, s)", {"s": np.array([1.0, 1, 2, 3]), "opset": 9}),
    "Upsample at opset 8": ('y = Upsample<mode="linear", scales=[1.0,1.0,2.0,2.0]>(x)', {"opset": 8}),
    "ConvTranspose": (
        "y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w, b)", {"w": noise(3, 4, 4, 4), "b": W["b"]}),
    # -- Softmax
    "Softmax of opset 11 over everything behind its axis": ("y = Softmax(x)", {"x": (4, 5), "opset": 11}),
    "Softmax of opset 11 over the last axis": ("y = Softmax<axis=2>(x)", {"x": (4, 5), "opset": 11}),
    "Softmax of opset 13 over the last axis": ("y = Softmax(x)", {"x": (4, 5), "opset": 13}),
    "Softmax of opset 13 over channels": ("y = Softmax<axis=1>(x)", {"x": (4, 5), "opset": 13}),
    "ArgMax over channels, the first of equals": ("a = Relu(x) y = ArgMax<axis=1>(a)", {"result": "int64"}),
    "ArgMax of the last of equals, axis dropped": (
        "a = Relu(x) y = ArgMax<axis=-1, keepdims=0, select_last_index=1>(a)", {"result": "int64"}),
    "ArgMin": ("a = Relu(x) y = ArgMin<axis=2, keepdims=0>(a)", {"result": "int64"}),
    "ArgMin of the last of equals as int32": (
        "a = Relu(x) p = ArgMin<axis=1, select_last_index=1>(a) y = Cast<to=6>(p)", {"result": "int32"}),
    "LogSoftmax of opset 11": ("y = LogSoftmax(x)", {"x": (4, 5), "opset": 11}),
    "LogSoftmax of opset 13": ("y = LogSoftmax(x)", {"x": (4, 5), "opset": 13}),
}  # fmt: skip
