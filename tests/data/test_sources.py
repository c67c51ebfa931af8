"""Whatever people have as data becomes the samples that the same numbers in an .npz are, or a message that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfn_compile.data import gather
from sfn_compile.data.given import Asked
from sfn_compile.data.sources import open_data
from sfn_compile.files.sample_files import load_data
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.preparation import Preparation, given
from sfn_compile.foundation.samples import ModelInput

ONE = [ModelInput("x", (2, 3), "float32")]
TWO = [ModelInput("a", (3,), "float32"), ModelInput("b", (2,), "int32")]
X = np.random.default_rng(0).normal(size=(10, 2, 3)).astype(np.float32)
Y = np.arange(10) % 4
A, B = X[:, 0], np.arange(20, dtype=np.int64).reshape(10, 2)


class Tensor:
    """What a torch tensor is to us: it says its numbers only when it is asked in the right order."""

    def __init__(self, held: np.ndarray, at: int = 0):
        self.held, self.at, self.shape = held, at, held.shape

    def __array__(self, *_: object) -> np.ndarray:
        raise RuntimeError("can't call numpy() on a tensor that requires grad")

    def detach(self) -> Tensor:
        return Tensor(self.held, 1)

    def cpu(self) -> Tensor:
        assert self.at == 1
        return Tensor(self.held, 2)

    def numpy(self) -> np.ndarray:
        assert self.at == 2
        return self.held


class Dataset:
    """Samples one by one, as torch's map-style data sets have them."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        if i >= len(X):
            raise IndexError(i)
        return X[i], int(Y[i])


class Loader:
    """Batches of tensors and labels, as a DataLoader has them; the last one is short."""

    def __iter__(self):
        return ((Tensor(X[i : i + 4]), Tensor(Y[i : i + 4])) for i in (0, 4, 8))

    def __len__(self) -> int:
        return 3


GIVEN = {
    "an array": X, "a tensor": Tensor(X), "samples and labels": (X, Y), "by name": {"x": X, "labels": Y},
    "tensors by name": {"x": Tensor(X), "y": Tensor(Y)}, "batches": [X[:4], X[4:]], "a loader": Loader(),
    "a data set": Dataset(), "a function": lambda: ((X[i : i + 1], Y[i : i + 1]) for i in range(10)),
    "a function of arrays": lambda: (X, Y), "dicts": [{"x": X[:7], "labels": Y[:7]}, {"x": X[7:], "labels": Y[7:]}],
    "a generator": (x for x in X),
}  # fmt: skip
LABELLED = {"samples and labels", "by name", "tensors by name", "a loader", "a data set", "a function",
            "a function of arrays", "dicts"}  # fmt: skip


def test_all_forms_of_the_same_samples_are_the_same():
    for name, what in GIVEN.items():
        found = open_data(what, Asked(ONE))
        assert np.array_equal(found.x["x"], X), name
        assert found.x["x"].dtype == np.float32
        assert (found.labels is not None) == (name in LABELLED), name
        assert found.labels is None or np.array_equal(found.labels, Y), name


@pytest.mark.parametrize("what", [{"a": A, "b": B}, [(A[:3], B[:3]), (A[3:], B[3:])], [{"b": B, "a": A}]])
def test_several_inputs_by_name_or_in_order(what):
    found = open_data(what, Asked(TWO))
    assert np.array_equal(found.x["a"], A)
    assert found.x["b"].dtype == np.int32
    assert np.array_equal(found.x["b"], B)


def test_labels_stand_behind_the_inputs_of_a_batch():
    found = open_data([(A, B, Y)], Asked(TWO))
    assert np.array_equal(found.labels, Y)


def test_samples_are_the_first_of_batches_and_no_more_is_computed():
    seen: list[int] = []

    def endless():
        while True:
            seen.append(1)
            yield X

    assert len(open_data(endless(), Asked(ONE, 25))) == 25
    assert len(seen) == 3
    assert len(open_data(endless(), Asked(ONE, most=12))) == 12
    assert np.array_equal(open_data(Dataset(), Asked(ONE, 3)).x["x"], X[:3])


def test_arrays_are_chosen_by_the_seed_as_those_of_a_file_are(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, labels=Y)
    file, held = load_data(tmp_path / "d.npz", ONE, 4, 7), open_data((X, Y), Asked(ONE, 4, 7))
    assert np.array_equal(file.x["x"], held.x["x"])
    assert np.array_equal(file.labels, held.labels)
    assert (
        open_data(given(str(tmp_path / "d.npz")).what, Asked(ONE)).sha256 == load_data(tmp_path / "d.npz", ONE).sha256
    )


def test_many_samples_lie_in_a_temporary_file(monkeypatch):
    monkeypatch.setattr(gather, "LARGE", 100)
    found = open_data(iter([X[:3], X[3:8], X[8:]]), Asked(ONE))
    assert isinstance(found.x["x"], np.memmap)
    assert np.array_equal(found.x["x"], X)


def test_a_hash_says_whether_samples_are_the_same():
    hashes = {open_data(what, Asked(ONE)).sha256 for what in (X, [X[:5], X[5:]], Tensor(X))}
    assert len(hashes) == 1
    assert open_data(X[::-1], Asked(ONE)).sha256 not in hashes
    assert open_data((X, Y), Asked(ONE)).sha256 not in hashes


# -- functions of the user -------------------------------------------------------------------------------------------
def test_a_function_is_named_by_its_module_or_its_file(tmp_path, monkeypatch):
    text = "import numpy as np\ndef batches():\n    for i in range(3):\n        yield np.full((2, 2, 3), i)\n"
    (tmp_path / "my_own_data.py").write_text(text + "held = [np.ones((1, 2, 3))]\n")
    monkeypatch.chdir(tmp_path)
    for name in ("my_own_data:batches", f"{tmp_path}/my_own_data.py:batches"):
        found = open_data(Path(name), Asked(ONE))
        assert found.x["x"][:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
        assert found.source == name
    assert len(open_data(Path("my_own_data:held"), Asked(ONE))) == 1


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "nothing", "has no attribute 'nothing'"), ("1 / 0", "f", "ZeroDivisionError"),
        ("def f():\n    raise KeyError('left')", "f", "KeyError: 'left'"),
        ("def f():\n    yield from ()", "f", "gives no batch"),
        ("def f():\n    return 3", "f", "gives int, no batches"),
        ("import numpy as np\ndef f():\n    yield np.ones((2, 2, 3))\n    raise OSError('disk')", "f", "OSError: disk"),
    ],
)  # fmt: skip
def test_what_fails_in_a_function_is_quoted(text, name, words, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(CompileError, match="SFN320") as caught:
        open_data(tmp_path / f"mine.py:{name}", Asked(ONE))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ([X[:, :1]], "SFN303"), ([{"z": X}], "SFN302"), ([np.full((1, 2, 3), np.nan)], "SFN305"), (3, "SFN301"),
        ([], "SFN320"), ([X[:0]], "SFN306"), ([np.array(["a"])], "SFN303"), (X[:, :, :2], "SFN303"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_refused(what, code):
    with pytest.raises(CompileError, match=code):
        open_data(what, Asked(ONE))


def test_arrays_are_not_prepared():
    with pytest.raises(CompileError, match="--scale: the data are arrays"):
        open_data(X, Asked(ONE, preparation=Preparation(scale="1/255")))


# -- tables ----------------------------------------------------------------------------------------------------------
def table(tmp_path, text: str, asked: Asked | None = None):
    (tmp_path / "t.csv").write_text(text)
    return open_data(tmp_path / "t.csv", asked or Asked([ModelInput("x", (3,), "float32")]))


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c,label\n1,2.5,3,0\n4,5,6,1\n",
        "1,2.5,3,0\n4,5,6,1\n",
        "y;a;b;c\n0;1;2.5;3\n1;4;5;6",
        "\ufeffa\tb\tc\tTarget\r\n1\t2.5\t3\t0\r\n4\t5\t6\t1\r\n\r\n",
    ],
)
def test_a_table_with_labels(text, tmp_path):
    found = table(tmp_path, text)
    assert found.x["x"].tolist() == [[1, 2.5, 3], [4, 5, 6]]
    assert found.labels.tolist() == [0, 1]


def test_words_of_a_table_are_classes_in_alphabetical_order(tmp_path):
    found = table(tmp_path, "a,b,c,class\n1,2,3,setosa\n4,5,6,iris\n7,8,9,setosa\n")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.classes == ("iris", "setosa")


def test_a_table_without_labels_fills_the_input_in_c_order(tmp_path):
    found = table(tmp_path, "1,2,3,4,5,6\n7,8,9,10,11,12\n", Asked([ModelInput("x", (2, 3), "uint8")]))
    assert found.x["x"].dtype == np.uint8
    assert found.x["x"][1].tolist() == [[7, 8, 9], [10, 11, 12]]
    assert found.labels is None


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [("a,b\n1,2\n", "SFN303", "2 columns"), ("1,2,3\n4,5\n", "SFN301", "sample 1"), ("a,b,c\n", "SFN306", "no samples"),
     ("1,2,x\n", "SFN304", "'x' is no number"), ("1,2,\n", "SFN305", "NaN"), ("1,2,inf\n", "SFN305", "infinity")],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(text, code, words, tmp_path):
    with pytest.raises(CompileError, match=code) as caught:
        table(tmp_path, text)
    assert words in str(caught.value)
