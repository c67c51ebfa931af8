# mypy: ignore-errors
"""Floats before and behind the network: codes of what the model takes, real outputs of the integers, classes.

    code = clip(floor(x / step + 1/2), lo, hi)        in float64; x after the operations of ``host``, if there are any
    real = step * integer                             then the operations of the output

Where an input states another ``rounding`` than ``half_up`` (a quantiser of the model), it divides in float32 and rounds
by that rule. Steps are arrays of ``host.npz``; ``host`` in manifest.json says which is which.
"""

from __future__ import annotations

import numpy as np

ROUNDINGS = {
    "half_even": np.rint,
    "half_away": lambda x: np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)),
    "half_down": lambda x: np.sign(x) * np.ceil(np.abs(x) - x.dtype.type(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
    "to_zero": np.trunc,
    "away": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "sign": lambda x: np.where(x >= 0, x.dtype.type(1), x.dtype.type(-1)),
}


class Elsewhere(Exception):
    """An operation before or behind the network that only sfnc computes."""


class Host:
    """The floats of one network."""

    def __init__(self, manifest, arrays):
        """Read them from a folder's manifest and the arrays of ``host.npz``."""
        self.inputs, self.outputs, self.arrays = manifest["host"]["inputs"], manifest["host"]["outputs"], arrays

    def encode(self, samples):
        """Return codes ``(n, *shape)`` by value name, for samples ``(n, ...)`` by the names of the model's inputs."""
        codes = {}
        for entry in self.inputs:
            x = np.asarray(samples[entry["name"]])
            if list(x.shape[1:]) != entry["model_shape"]:
                wanted = "x".join(map(str, entry["model_shape"]))
                raise ValueError(f"{entry['name']}: samples have the shape {x.shape[1:]}, the model takes {wanted}")
            for op in entry["host"]:
                x = self._applied(op, [x if op["kind"] == "move" else x.astype(np.float64)])
            codes[entry["value"]] = self._codes(x.astype(np.float64), entry)
        return codes

    def decode(self, values):
        """Return the model's outputs by name, for the integers ``(n, *shape)`` of every value by its name."""
        found = {}
        for entry in self.outputs:
            parts = [(entry["value"], entry["step"]), *((p["value"], p["step"]) for p in entry["joined"])]
            line = [values[value] * self._array(step) for value, step in parts]
            for op in entry["host"]:
                line.append(self._applied(op, [line[i] for i in op["reads"] or [len(line) - 1]]))
            whole = "int" in entry["dtype"]
            found[entry["name"]] = (np.rint(line[-1]) if whole else line[-1]).astype(entry["dtype"])
        return found

    def classes(self, values):
        """Return the class of every sample by output: the place of the largest number, 0 or 1 of a single one.

        Outputs of more axes than one have no class and are left out.
        """
        found = {}
        for name, y in self.decode(values).items():
            flat = y.reshape(len(y), -1)
            if flat.shape[1] == 1:
                found[name] = flat[:, 0].astype(int) if "int" in str(y.dtype) else (flat[:, 0] > 0).astype(int)
            elif sum(n > 1 for n in y.shape[1:]) == 1:
                found[name] = flat.argmax(axis=1)
        return found

    def _codes(self, x, entry):
        step = self._array(entry["step"])
        if entry["rounding"] == "half_up":
            found = np.floor(x / step.astype(np.float64) + 0.5)
        else:
            found = ROUNDINGS[entry["rounding"]](x.astype(np.float32) / step.astype(np.float32))
        return np.clip(found, entry["lo"], entry["hi"]).astype(np.int32)

    def _array(self, said):
        return self.arrays[said["array"]] if isinstance(said, dict) and "array" in said else said

    def _applied(self, op, xs):
        x, args = xs[0], {key: self._array(value) for key, value in op["args"]}
        work = getattr(self, f"_{op['kind']}", None)
        if work is None:
            raise Elsewhere(f"{op['kind']} before or behind the network is computed by sfnc: sfnc run OUT --on lava")
        return work(*xs, **args) if op["kind"] in ("add", "mul") else work(x, **args)

    def _affine(self, x, scale, bias):
        return x * scale + bias

    def _add(self, x, y):
        return x + y

    def _mul(self, x, y):
        return x * y

    def _relu(self, x):
        return np.maximum(x, 0)

    def _leaky_relu(self, x, slope):
        return np.where(x >= 0, x, slope * x)

    def _clip(self, x, lo, hi):
        return np.clip(x, -np.inf if lo is None else lo, np.inf if hi is None else hi)

    def _sigmoid(self, x):
        return 0.5 * (1 + np.tanh(x / 2))

    def _tanh(self, x):
        return np.tanh(x)

    def _softmax(self, x, axes):
        axes = tuple(a + 1 for a in axes)
        e = np.exp(x - x.max(axis=axes, keepdims=True))
        return e / e.sum(axis=axes, keepdims=True)

    def _log_softmax(self, x, axes):
        axes = tuple(a + 1 for a in axes)
        moved = x - x.max(axis=axes, keepdims=True)
        return moved - np.log(np.exp(moved).sum(axis=axes, keepdims=True))

    def _move(self, x, op):
        if op["class"] == "Reshape":
            return x.reshape(len(x), *op["shape"])
        if op["class"] == "Transpose":
            return x.transpose(0, *(p + 1 for p in op["perm"]))
        if op["class"] == "Slice":
            return x[(slice(None), *(slice(*r) for r in op["ranges"]))]
        if op["class"] == "Take":
            return x.take(op["index"], axis=op["axis"] + 1)
        raise Elsewhere(f"a {op['class']} before or behind the network is computed by sfnc: sfnc run OUT --on lava")
