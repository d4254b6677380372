"""A state comes back equal from its file, which nothing of a Python program is in."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from distill.storage.checkpoints import load_state, options_in, save_state
from distill.storage.files import write_text

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
tensors = st.builds(
    lambda dtype, shape, seed: (
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(9).to(dtype)
    ),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 9),
)
keys = st.one_of(st.text(max_size=4), st.integers(-9, 9), st.sampled_from(["__metadata__", "a.b", "a"]))
leaves = st.one_of(
    tensors, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)


def same(first, second):
    """Compare two states by type, structure, value and dtype."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        keyed = [(type(key), key) for key in first] == [(type(key), key) for key in second]
        return keyed and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@given(state=st.dictionaries(keys, values, max_size=4))
def test_any_state_comes_back_equal(state, tmp_path_factory):
    """Nested dicts with int and text keys, lists, tuples, numbers and tensors survive a round trip."""
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    save_state(path, state)
    assert same(load_state(path), state)


def test_floats_that_are_not_finite_come_back(tmp_path):
    """Infinities and NaN survive, although JSON has none."""
    save_state(tmp_path / "s", {"best": float("inf"), "least": -float("inf"), "last": float("nan")})
    state = load_state(tmp_path / "s")
    assert state["best"] == float("inf")
    assert state["least"] == -float("inf")
    assert state["last"] != state["last"]


def test_a_key_and_its_look_alike_are_two(tmp_path):
    """An int key, the same digits as text and a path with a dot do not overwrite each other's tensors."""
    one, two = torch.ones(2), torch.zeros(2)
    state = {0: one, "0": two, "a": {"b": one}, "a.b": two, "__metadata__": one}
    save_state(tmp_path / "s", state)
    assert same(load_state(tmp_path / "s"), state)


def test_tied_strided_and_expanded_tensors_are_saved(tmp_path):
    """Tensors that share memory, overlap, are transposed or expanded are saved by value."""
    base = torch.arange(12.0).view(3, 4)
    state = {
        "tied": [base, base],
        "rows": base[1:],
        "turned": base.T,
        "wide": torch.ones(1).expand(5),
        "strided": base[:, ::2],
        "parameter": nn.Parameter(base),
    }
    save_state(tmp_path / "s", state)
    loaded = load_state(tmp_path / "s")
    assert same(loaded, state | {"parameter": base})
    loaded["tied"][0].zero_()
    assert torch.equal(loaded["tied"][1], base)


def test_training_goes_on_exactly_from_a_saved_state(tmp_path):
    """Model, optimizer, schedule and random numbers resume: the next steps give the very same weights."""

    def make():
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))
        return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2), torch.Generator()

    def train(model, optimizer, scheduler, generator):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 3, generator=generator)).square().mean().backward()
            optimizer.step()
            scheduler.step()

    parts = make()
    train(*parts)
    state = {"parts": [p.state_dict() for p in parts[:3]], "generator": parts[3].get_state(), "step": 3}
    save_state(tmp_path / "s", state)
    train(*parts)

    resumed = make()
    loaded = load_state(tmp_path / "s")
    for part, saved in zip(resumed, loaded["parts"], strict=False):
        part.load_state_dict(saved)
    resumed[3].set_state(loaded["generator"])
    train(*resumed)
    assert loaded["step"] == 3
    assert same(dict(resumed[0].state_dict()), dict(parts[0].state_dict()))


def test_a_flat_state_is_an_ordinary_safetensors_file(tmp_path):
    """The safetensors library reads a saved `state_dict` under its own names, tensors nested by path."""
    model = nn.Linear(2, 3)
    save_state(tmp_path / "m.safetensors", model.state_dict())
    loaded = load_file(tmp_path / "m.safetensors")
    assert loaded.keys() == {"weight", "bias"}
    assert torch.equal(loaded["weight"], model.weight)
    save_state(tmp_path / "n.safetensors", {"model": model.state_dict(), "groups": [{"lr": torch.ones(1)}]})
    assert load_file(tmp_path / "n.safetensors").keys() == {"model.weight", "model.bias", "groups.0.lr"}


def test_a_file_without_a_checksum_is_read(tmp_path):
    """A file of Distill 0.2.0, or of a program that writes the structure alone, is read."""
    path = tmp_path / "s.safetensors"
    structure = {"dict": [["weight", {"tensor": "weight"}], ["step", 7]]}
    save_file({"weight": torch.ones(2)}, path, {"distill_state": json.dumps(structure)})
    assert same(load_state(path), {"weight": torch.ones(2), "step": 7})


def test_what_cannot_be_saved_is_named(tmp_path):
    """An object of another type is refused, with its place in the state, and no file is made."""
    with pytest.raises(TypeError, match=r"^a state cannot hold a set: optimizer\.0$"):
        save_state(tmp_path / "s", {"optimizer": [{1}]})
    assert list(tmp_path.iterdir()) == []


def test_no_pickle_is_written(tmp_path):
    """A state file is a length, a JSON header, and the bytes of the tensors: nothing else."""
    path = tmp_path / "s"
    save_state(path, {"weight": torch.tensor([1.5, -2.0]), "step": 7})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert json.loads(header["__metadata__"]["distill_state"]) == {
        "dict": [["weight", {"tensor": "weight"}], ["step", 7]]
    }
    assert data[8 + size :] == bytes.fromhex("0000c03f000000c0")


def test_text_is_written(tmp_path):
    """Text is UTF-8, and its folder is made."""
    write_text(tmp_path / "new" / "a.txt", "Glöckchen\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"Gl\xc3\xb6ckchen\n"


def test_equal_states_have_equal_files(tmp_path):
    """Equal states with options give the same bytes, although safetensors orders metadata at random."""
    written = set()
    for number in range(20):
        save_state(
            tmp_path / f"{number}",
            {"weight": torch.ones(2)},
            {"model": {"width": 16, "name": 'a "b"'}},
        )
        written.add((tmp_path / f"{number}").read_bytes())
    assert len(written) == 1
    assert options_in(tmp_path / "0") == {"model": {"width": 16, "name": 'a "b"'}}
    assert load_state(tmp_path / "0")["weight"].tolist() == [1, 1]


def test_a_state_below_a_folder_whose_name_is_not_text(tmp_path):
    """A state and its options are read from a path that is not valid text, which safetensors refuses."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/odd\xff"))
    save_state(folder / "a.safetensors", {"a": torch.arange(3)}, {"model.width": 8})
    assert load_state(folder / "a.safetensors")["a"].tolist() == [0, 1, 2]
    assert options_in(folder / "a.safetensors") == {"model.width": 8}
