"""A file that is missing, damaged or not one of ours is named, and nothing in it is run or believed."""

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from distill.errors import RunError
from distill.storage.checkpoints import load_state, save_state


def test_a_missing_file_is_named(tmp_path):
    """Loading what is not there, or a folder, names it and says what to check."""
    missing = tmp_path / "none.safetensors"
    for path, problem in ((missing, "there is no such file"), (tmp_path, "is a folder")):
        with pytest.raises(RunError) as caught:
            load_state(path)
        assert str(caught.value) == (
            f"{path}: {problem}\nCheck that the folder is the run of a `distill train`."
        )


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """The cause is the one that the system tells."""
    path = tmp_path / "model.safetensors"
    save_state(path, {"a": 1})

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: Permission denied\nMake sure that you may read it."
    )


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_truncated_file_is_named(kept, tmp_path):
    """A file cut short anywhere is recognized as such."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"weight": torch.ones(9)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path}: the file is cut short, damaged, or not a safetensors file\n"
        "Restore it from a copy, or train again."
    )


STRUCTURES = (
    "{",
    "3",
    "[]",
    "null",
    '"text"',
    '{"tensor": "weight"}',
    '{"dict": 3}',
    '{"dict": [3]}',
    '{"dict": [[1]]}',
    '{"dict": [[1, 2, 3]]}',
    '{"dict": [[[], 1]]}',
    '{"dict": [[{"dict": []}, 1]]}',
    '{"dict": [["a", {"tensor": "missing"}]]}',
    '{"dict": [["a", {"tensor": []}]]}',
    '{"dict": [["a", {"tuple": 3}]]}',
    '{"dict": [["a", {"float": "x"}]]}',
    '{"dict": [["a", {"float": null}]]}',
    "[" * 100_000,
    '{"tuple": [' * 900 + "]}" * 900,
)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, *({"distill_state": structure} for structure in STRUCTURES)]
)
def test_a_foreign_safetensors_file_is_named(metadata, tmp_path):
    """A safetensors file of somebody else's is not mistaken for a state."""
    path = tmp_path / "s.safetensors"
    save_file({"weight": torch.ones(9)}, path, metadata)
    with pytest.raises(RunError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path}: the file was not written by Distill\nPass a file that Distill has saved."
    )


@pytest.mark.parametrize("name", ["length", "sparse"])
def test_a_size_in_a_file_is_not_believed(name, tmp_path):
    """Neither a header of 2**60 bytes nor a file of a terabyte of zeros is allocated: one message each."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.ones(3)})
    with path.open("r+b") as file:
        if name == "length":
            file.write((2**60).to_bytes(8, "little"))
        else:
            file.truncate(2**40)
    with pytest.raises(RunError) as caught:
        load_state(path)
    said = "the file is cut short, damaged" if name == "length" else "the file has 1.1 TB, and "
    assert str(caught.value).startswith(f"{path}: {said}")
    with pytest.raises(RunError, match="and 10 bytes at most are expected"):
        load_state(path, most=10)


def test_a_structure_without_end_is_not_parsed(tmp_path):
    """Each bracket of a structure would become an object: its length is bounded."""
    path = tmp_path / "s.safetensors"
    save_file({"a": torch.ones(1)}, path, {"distill_state": " " * 2**25 + '{"dict": []}'})
    with pytest.raises(RunError, match="the file was not written by Distill"):
        load_state(path)


class Bomb:
    """Something whose pickle, when read, leaves a file behind."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("dump", [lambda bomb, path: path.write_bytes(pickle.dumps(bomb)), torch.save])
def test_a_pickle_is_never_run(dump, tmp_path):
    """A pickle under a checkpoint's name is refused, and nothing in it is executed."""
    path = tmp_path / "s.safetensors"
    dump(Bomb(tmp_path / "mark"), path)
    with pytest.raises(RunError):
        load_state(path)
    assert not (tmp_path / "mark").exists()


@given(bit=st.integers(0), cut=st.integers(0, 40), nested=st.booleans())
@settings(max_examples=60, deadline=None)
def test_one_changed_bit_is_found(bit, cut, nested, tmp_path_factory):
    """A changed bit is found anywhere in the file, alone or before zeros."""
    path = tmp_path_factory.getbasetemp() / "bit.safetensors"
    state = {"weight": torch.arange(1.0, 9.0), "step": 3, "of": {"a": torch.ones(2)} if nested else [1.5]}
    save_state(path, state)
    whole = path.read_bytes()
    changed = bytearray(whole)
    place, number = divmod(bit % (8 * len(whole)), 8)
    changed[place] ^= 1 << number
    changed[place + 1 : place + 1 + cut] = bytes(len(changed[place + 1 : place + 1 + cut]))
    path.write_bytes(changed)
    with pytest.raises(RunError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path}: the file is cut short, damaged, or not a safetensors file\n"
        "Restore it from a copy, or train again."
    )


@pytest.mark.parametrize(
    "structure",
    [
        *("3", "[]", "null", '"text"', '{"dict": 3}', '{"dict": [1]}', '{"dict": [["a", {"tensor": "b"}]]}'),
        *('{"dict": [[{"dict": []}, 1]]}', '{"tuple": []}', '{"float": "x"}', "[" * 100_000),
    ],
)
def test_a_structure_that_is_none_is_named(structure, tmp_path):
    """A file that has the mark of Distill but another structure is refused by name."""
    path = tmp_path / "s.safetensors"
    save_file({"weight": torch.ones(2)}, path, {"distill_state": structure})
    with pytest.raises(RunError) as caught:
        load_state(path)
    assert str(caught.value) == (
        f"{path}: the file was not written by Distill\nPass a file that Distill has saved."
    )
