"""Small networks with something in front that is none: spectrograms, normalisation by a sample's own numbers."""

from __future__ import annotations

import numpy as np
import onnx

from .tiny_onnx import Array, ints, noise, tiny

NET = """ c = Conv<pads=[1,1,1,1]>(seen, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p)
          y = Gemm<transB=1>(f, v)"""
BINS, WINDOW, HOP, BANDS = 33, 64, 32, 8
EPS = np.float32(1e-3)


def weights(channels: int = 1) -> dict[str, Array]:
    """The layers behind the head."""
    return {"w": 0.3 * noise(8, channels, 3, 3), "b": 0.1 * noise(8, seed=1), "v": noise(4, 8, seed=2)}


def mel() -> Array:
    """Triangles over the bins of a spectrum, ``(BINS, BANDS)``."""
    corners = np.linspace(0, BINS - 1, BANDS + 2)
    rise = (np.arange(BINS)[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - np.arange(BINS)[:, None]) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


def fourier() -> Array:
    """The kernels of a windowed Fourier transform as a convolution, ``(2 * BINS, 1, WINDOW)``."""
    turns = 2 * np.pi * np.outer(np.arange(BINS), np.arange(WINDOW)) / WINDOW
    return (np.hanning(WINDOW) * np.concatenate([np.cos(turns), np.sin(turns)]))[:, None].astype(np.float32)


def spectrogram(batch: int | str = "N", after: str = NET) -> onnx.ModelProto:
    """Log mel of a short-time Fourier transform, scaled and made an image."""
    body = """s = STFT<onesided=1>(x, hop, window) q = Mul(s, s) e = ReduceSum<keepdims=0>(q, last) m = MatMul(e, mel)
              n = Add(m, eps) l = Log(n) k = Mul(l, fifth) seen = Unsqueeze(k, one)"""
    more = {"hop": np.array(HOP), "window": np.hanning(WINDOW), "last": ints(3), "mel": mel(), "eps": EPS,
            "fifth": np.float32(0.2), "one": ints(1)}  # fmt: skip
    return tiny(body + after, x=(512,), batch=batch, **weights(), **more)


def windows_as_convolution(batch: int | str = "N") -> onnx.ModelProto:
    """The transform written as a Conv of sinusoids, the bands as a matrix from the left, and each sample by its top."""
    body = """s = Conv<strides=[32]>(x, kernels) real, imag = Split<axis=1>(s) r2 = Pow(real, two) i2 = Pow(imag, two)
              e = Add(r2, i2) m = MatMul(mel, e) top = ReduceMax<axes=[1,2]>(m) d = Div(m, top) n = Add(d, eps)
              l = Log(n) seen = Unsqueeze(l, one)"""
    more = {"kernels": fourier(), "two": np.float32(2), "mel": mel().T.copy(), "eps": EPS, "one": ints(1)}
    return tiny(body + NET, x=(1, 512), batch=batch, **weights(), **more)


def own_range(batch: int | str = "N", after: str = NET) -> onnx.ModelProto:
    """Every sample by its own minimum and maximum."""
    body = """low = ReduceMin<axes=[1,2,3]>(x) high = ReduceMax<axes=[1,2,3]>(x) d = Sub(x, low) h = Sub(high, low)
              g = Add(h, eps) seen = Div(d, g)"""
    return tiny(body + after, x=(1, 8, 8), batch=batch, eps=EPS, **weights())


def bytes_with_a_hole(batch: int | str = "N") -> onnx.ModelProto:
    """8-bit images in NHWC, scaled and moved to NCHW; what is 0 counts as the brightest place of the image."""
    body = """a = Cast<to=1>(x) d = Div(a, full) top = ReduceMax<axes=[1,2,3]>(d) gone = Equal(a, zero)
              h = Where(gone, top, d) m = Sub(h, mean) seen = Transpose<perm=[0,3,1,2]>(m)"""
    more = {"full": np.float32(255), "zero": np.float32(0), "mean": np.array([0.4, 0.5, 0.6])}
    return tiny(body + NET, x=(8, 8, 3), batch=batch, dtype="uint8", **weights(3), **more)


def with_two_ends(batch: int | str = 1) -> onnx.ModelProto:
    """A head and a tail, which reads what the head makes."""
    end = NET.replace("y = Gemm", "z = Gemm") + " best, which = TopK<axis=1>(z, two) u = Flatten(g) y = Mul(best, u)"
    model = own_range(batch, end)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ints(2), "two"))
    return model


HEADS = {
    "stft": spectrogram, "convolution": windows_as_convolution, "range": own_range, "bytes": bytes_with_a_hole,
    "both": with_two_ends,
}  # fmt: skip
