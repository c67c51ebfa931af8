"""Operators that are refused with a reason of their own: what is in the way, and what can be done about it."""

from __future__ import annotations

Reason = tuple[str, str]

_STATE = (
    "it keeps state from step to step, which a one-timestep network does not have",
    "use convolutions over a fixed window of past samples, or compile the parts before and behind it alone",
)
_BRANCH = (
    "the graph itself depends on values that are known only at run time",
    "store what decides it as a constant (the branch is then folded), or export the branch that you use",
)
_LOOP = (
    "how often it runs is known only at run time",
    "export the loop unrolled: a traced torch model, or a fixed number of steps written out",
)
_ROTARY = (
    "only rotations that are written out are read",
    "export with Mul by constant cosines and sines, Neg and Concat (an opset below 23)",
)
_POSITIONS = (
    "where it reads depends on computed values",
    "cut the model before this node and run the rest on the host",
)
_PLACES = (
    "the place or number of its results depends on computed values",
    "cut the model before this node and run the rest on the host",
)
_POWERS = (
    "it takes powers and roots of computed values",
    "use MaxPool or AveragePool, ReduceMax or ReduceMean",
)
_DYNAMIC = (
    "its ranges are known only at run time",
    "quantise the model statically (onnxruntime's quantize_static), or pass the float model",
)
_RANDOM = ("its result is drawn at random", "export the model in evaluation mode, or make the numbers an initializer")
_TEXT = ("it works on text or on files, not on numbers", "do this before the network and pass it numbers")
_SEQUENCE = ("it works on lists of tensors whose length may change", "export with tensors of fixed shape instead")
_LOGIC = (
    "it works on the bits of computed values, which are not there",
    "say it with And, Or, Not and comparisons, or export what it decides as a constant",
)
_SPECTRUM = (
    "spectra of computed values have no integer form",
    "compute the spectrum before the network, or write it as Conv or MatMul with constant weights",
)

# What is worth naming inside of a branch or loop.
RECURRENT_OR_BRANCH = frozenset({"LSTM", "GRU", "RNN", "If", "Loop", "Scan"})

# Operators of the standard domain: name -> (reason, what to do).
REFUSED: dict[str, Reason] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _STATE),
    "If": _BRANCH,
    **dict.fromkeys(("Loop", "Scan"), _LOOP),
    "LRN": ("it divides by squares of computed values", "train with BatchNormalization, or remove it and train on"),
    "RotaryEmbedding": _ROTARY,
    **dict.fromkeys(
        ("GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool", "DeformConv", "MaxUnpool", "TensorScatter"),
        _POSITIONS),
    "CenterCropPad": ("it cuts or pads by a shape of its own", "write it as Slice and Pad"),
    **dict.fromkeys(
        ("Unique", "NonZero", "TopK", "OneHot", "NonMaxSuppression", "ReverseSequence", "Hardmax"), _PLACES),
    "Col2Im": ("it adds overlapping blocks", "write it as ConvTranspose with a weight of ones and zeros"),
    **dict.fromkeys(("LpPool", "GlobalLpPool"), _POWERS),
    **dict.fromkeys(("ReduceProd", "CumProd"), (
        "a product of many computed values outgrows every integer", "write it as Mul of two values at a time")),
    **dict.fromkeys(
        ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul",
         "MatMulIntegerToFloat"), _DYNAMIC),
    **dict.fromkeys(
        ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"),
        _RANDOM),
    **dict.fromkeys(
        ("StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "ImageDecoder"),
        _TEXT),
    **dict.fromkeys(
        ("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
         "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement",
         "OptionalHasElement"), _SEQUENCE),
    **dict.fromkeys(
        ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"),
        _LOGIC),
    **dict.fromkeys(("DFT", "STFT", "MelWeightMatrix"), _SPECTRUM),
    **dict.fromkeys(("Det", "EyeLike"), ("matrices of computed values are not decomposed", "")),
}  # fmt: skip

# Domains whose operators share a reason: longest prefix first.
DOMAINS: tuple[tuple[str, Reason], ...] = (
    ("ai.onnx.ml", (
        "classical models (trees, support vectors, encoders) are no networks",
        "sfnc compiles neural networks; a linear model can be exported as Gemm")),
    ("com.microsoft", (
        "it is onnxruntime's own, mostly made by its optimiser",
        "pass the model as it was before onnxruntime optimised it (no optimized_model_filepath)")),
    ("ai.onnx.preview.training", ("it trains", "export the model for inference")),
    ("ai.onnx.training", ("it trains", "export the model for inference")),
    ("org.pytorch.aten", (
        "the exporter could not say this part of the network in ONNX",
        "export with a newer torch or opset, without the ATen fallback")),
    ("pkg.", (
        "it is a function whose body is not in the file", "export the model with its functions, or inline them")),
)  # fmt: skip


def reason(domain: str, op_type: str) -> Reason:
    """Return (why the operator is refused, what to do); both empty where there is nothing particular to say."""
    if op_type in REFUSED:
        return REFUSED[op_type]
    return next((why for prefix, why in DOMAINS if domain.startswith(prefix)), ("", ""))
