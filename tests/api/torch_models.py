"""Run by a Python with torch: modules of several kinds, each compiled and compared with torch."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import sfn_compile
from sfn_compile.foundation.diagnostics import CompileError

torch = pytest.importorskip("torch")
torch.manual_seed(0)


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(image))).mean((2, 3)))


class Two(torch.nn.Module):
    """Two inputs, two outputs, one of them of another type."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Linear(12, 4), torch.nn.Linear(5, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.left(a) + self.right(b))
        return y, y.argmax(1)


class OfOne(torch.nn.Module):
    """Its batch cannot be free."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(x.reshape(1, 12))


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) > 3 else x


def close(net: Any, module: torch.nn.Module, *x: torch.Tensor) -> bool:
    """Whether a network answers with tensors as close as 31 levels are: a signal to noise of 15 dB."""
    with torch.no_grad():
        want = module.eval()(*x)
    got = net(*x)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    return bool(((got - want) ** 2).mean() < 10**-1.5 * want.var())


def a_module_is_exported_and_left_in_its_mode() -> None:
    module, x = Small().train(), torch.randn(200, 3, 9, 9)
    module(x)
    net = sfn_compile.compile(module, example=x[:1], calib=x, targets="sim,onnx")
    assert module.training
    assert net.manifest["model"]["name"] == "Small.onnx"
    assert net.manifest["model"]["batch"] is None
    assert net.inputs[0].name == "image"
    assert close(net, module, x)
    assert net.verify()
    assert np.array_equal(net(x.numpy()), net(x, on="onnx").numpy())
    with torch.no_grad():
        assert np.array_equal(net(x.numpy()), net(x.requires_grad_()).numpy())


def several_inputs_and_outputs() -> None:
    a, b = torch.randn(150, 12), torch.randn(150, 5)
    net = sfn_compile.compile(Two(), example=(a[:1], b[:1]), calib={"a": a, "b": b})
    found = net(a, b)
    assert [tuple(y.shape) for y in found.values()] == [(150, 4), (150,)]
    assert list(found.values())[1].dtype == torch.int64
    by_name = net({"b": b, "a": a})
    assert all(torch.equal(by_name[name], found[name]) for name in found)
    again = sfn_compile.compile(Two(), example={"a": a[:1], "b": b[:1]}, calib=[(a, b)])
    assert [i.name for i in again.inputs] == ["a", "b"]


def a_batch_that_cannot_be_free_is_that_of_the_example() -> None:
    module, x = OfOne(), torch.randn(60, 3, 4)
    net = sfn_compile.compile(module, example=x[:1], calib=x)
    assert net.manifest["model"]["batch"] == 1
    assert net(x).shape == (60, 3)


def programs_of_torch_and_data_sets_are_taken() -> None:
    module, x = Small().eval(), torch.randn(140, 3, 9, 9)
    program = torch.onnx.export(module, (x[:2],), dynamo=True, verbose=False)
    samples = torch.utils.data.TensorDataset(x, torch.zeros(140, dtype=torch.int64))
    for model in (program, program.model_proto):
        assert close(sfn_compile.compile(model, calib=samples), module, x[:20])


def what_cannot_be_exported_is_told() -> None:
    for module, example, words in (
        (Branching(), torch.zeros(2, 3), "torch cannot export it"), (Small(), None, "without an example"),
        (Small(), "x", "holds a str"),
    ):  # fmt: skip
        with pytest.raises(CompileError, match="SFN322") as caught:
            sfn_compile.compile(module, example=example)
        assert words in str(caught.value)


if __name__ == "__main__":
    a_module_is_exported_and_left_in_its_mode()
    several_inputs_and_outputs()
    a_batch_that_cannot_be_free_is_that_of_the_example()
    programs_of_torch_and_data_sets_are_taken()
    what_cannot_be_exported_is_told()
    gc.collect()
    print("all of torch_models.py holds")
