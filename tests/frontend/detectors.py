"""Small detectors with the ends that exporters write, for the tests of the host tail."""

from __future__ import annotations

import numpy as np
import onnx

from .tiny_onnx import ints, noise, tiny

BODY = "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) "
WEIGHTS = {
    "w": noise(8, 3, 3, 3),
    "b": noise(8),
    "v": 0.12 * noise(6, 8, 1, 1),
    "u": np.array([0, 0, 0, 0, -1.5, -1.5]),
}
GRID = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), axis=-1).reshape(1, 16, 2)


def yolo(batch: int | str = 1) -> onnx.ModelProto:
    """Boxes by Sigmoid and Exp, then NonMaxSuppression: as many answers as there are objects."""
    head = """[head] c = Conv(p, v, u) [flat] f = Reshape(c, shape) [turn] t = Transpose<perm=[0,2,1]>(f)
        [split] xy, wh, raw = Split<axis=2>(t, sizes) [near] s = Sigmoid(xy) [at] m = Add(s, grid)
        [grow] e = Exp(wh) [size] z = Mul(e, anchors) [half] h = Div(z, two) [low] lo = Sub(m, h) [high] hi = Add(m, h)
        [join] boxes = Concat<axis=2>(lo, hi) [score] sc = Sigmoid(raw) [order] scores = Transpose<perm=[0,2,1]>(sc)
        [nms] picked = NonMaxSuppression(boxes, scores, most, iou, least)
        [column] i = Gather<axis=1>(picked, last) [pick] chosen = Gather<axis=1>(boxes, i)"""
    constants = {"shape": ints(batch if batch == 1 else 0, 6, 16), "sizes": ints(2, 2, 2), "grid": GRID,
                 "anchors": np.array([1.5, 2.0]), "two": np.float32(2), "most": ints(5), "iou": np.float32(0.5),
                 "least": np.float32(0.55), "last": np.array(2)}  # fmt: skip
    model = tiny(BODY + head, x=(3, 8, 8), batch=batch, outputs=("scores", "picked", "chosen"), **WEIGHTS, **constants)
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


def ssd(batch: int | str = 1) -> onnx.ModelProto:
    """The three best boxes by TopK and GatherND: always as many."""
    head = """[head] c = Conv(p, v, u) [flat] f = Reshape(c, shape) [turn] t = Transpose<perm=[0,2,1]>(f)
        [split] raw, boxes = Split<axis=2>(t, sizes) [soft] s = Softmax<axis=2>(raw) [object] o = Gather<axis=2>(s, one)
        [top] best, places = TopK<axis=1>(o, three) [index] i = Unsqueeze(places, end)
        [pick] chosen = GatherND<batch_dims=1>(boxes, i) [name] labels = ArgMax<axis=2, keepdims=0>(raw)"""
    constants = {"shape": ints(batch if batch == 1 else 0, 6, 16), "sizes": ints(2, 4), "one": np.array(1),
                 "three": ints(3), "end": ints(-1)}  # fmt: skip
    outputs = ("best", "chosen", "labels", "r")
    model = tiny(BODY + head, x=(3, 8, 8), batch=batch, outputs=outputs, **WEIGHTS, **constants)
    model.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model
