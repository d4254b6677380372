"""Checkpoints come back equal, and are whole or not there at all."""

import json
import os
import pickle
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from distill.errors import RunError
from distill.storage.checkpoints import (
    checkpoint_paths,
    load_checkpoint,
    load_latest,
    load_state,
    options_in,
    save_best,
    save_checkpoint,
    save_state,
)
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


def partials(folder):
    """List the temporary files that are left in a folder."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


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


def test_what_cannot_be_saved_is_named(tmp_path):
    """An object of another type is refused, with its place in the state, and no file is made."""
    with pytest.raises(TypeError, match=r"^a state cannot hold a set: optimizer\.0$"):
        save_state(tmp_path / "s", {"optimizer": [{1}]})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    """Loading what is not there, or a folder, names it and says what to check."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(RunError) as caught:
            load_state(path)
        assert str(caught.value) == (
            f"{path}: there is no such file\nCheck that the folder is the run of a `distill train`."
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
        f"{path}: the file was not written by Distill\nGive a file that Distill has saved."
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


def test_a_file_without_a_checksum_is_read(tmp_path):
    """A file of Distill 0.2.0, or of a program that writes the structure alone, is read."""
    path = tmp_path / "s.safetensors"
    structure = {"dict": [["weight", {"tensor": "weight"}], ["step", 7]]}
    save_file({"weight": torch.ones(2)}, path, {"distill_state": json.dumps(structure)})
    assert same(load_state(path), {"weight": torch.ones(2), "step": 7})


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
        f"{path}: the file was not written by Distill\nGive a file that Distill has saved."
    )


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """The content is synced, then the file is renamed, and then the folder is synced."""
    path, events = tmp_path / "a", []
    sync = os.fsync

    def record(descriptor):
        events.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_text(path, "new")
    assert events == [(False, False), (True, True)]


def test_the_mode_of_a_file_is_that_of_any_new_file(tmp_path):
    """A written file can be read by whom the umask allows, not by its owner alone."""
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    """Ctrl-C halfway leaves the old content and no temporary file."""
    path = tmp_path / "a"
    write_text(path, "old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert partials(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    """The error of a full disk names file and cause, and the old state stays whole."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(RunError) as caught:
            save_state(path, {"weight": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        f"{path}: cannot be written: File too large\nRaise the limit on the size of files (ulimit -f)."
    )
    assert load_state(path) == {"step": 1}
    assert partials(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    """A path below a file gives one clear error."""
    (tmp_path / "run").touch()
    with pytest.raises(RunError) as caught:
        write_text(tmp_path / "run" / "a", "")
    assert str(caught.value) == (
        f"{tmp_path / 'run' / 'a'}: cannot be written: File exists\n"
        "Remove what is in its place, or give another path."
    )


def test_checkpoints_are_numbered_and_pruned(tmp_path):
    """The newest `keep` checkpoints stay, in the order of their steps, beside files of other names."""
    (tmp_path / "step-notes.txt").touch()
    for step in (5, 100_000_000, 1200, 30):
        (tmp_path / f"step-{step:08d}.safetensors").touch()
    assert list(checkpoint_paths(tmp_path)) == [5, 30, 1200, 100_000_000]
    path = save_checkpoint(tmp_path, 100_000_001, {}, keep=2)
    assert path == tmp_path / "step-100000001.safetensors"
    assert list(checkpoint_paths(tmp_path)) == [100_000_000, 100_000_001]
    assert (tmp_path / "step-notes.txt").exists()
    assert save_checkpoint(tmp_path / "new", 1200, {}).name == "step-00001200.safetensors"
    with pytest.raises(ValueError, match=r"^keep must be at least 1: 0$"):
        save_checkpoint(tmp_path, 1, {}, keep=0)


def test_a_new_checkpoint_outlives_a_damaged_later_one(tmp_path):
    """After a resume from before a damaged checkpoint, pruning removes the damaged one, not the new."""
    (tmp_path / "step-00000200.safetensors").touch()
    save_checkpoint(tmp_path, 150, {"step": 150}, keep=1)
    assert list(checkpoint_paths(tmp_path)) == [150]


def test_the_newest_whole_checkpoint_is_loaded(tmp_path):
    """A damaged newest one is passed over, and handed back as an error to be shown."""
    assert load_latest(tmp_path / "none") is None
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"at": step})
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state, latest.damaged) == (3, {"step": 3, "at": 3}, ())
    damaged = tmp_path / "step-00000003.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state) == (2, {"step": 2, "at": 2})
    assert [error.culprit for error in latest.damaged] == [str(damaged)]


def test_another_state_is_no_checkpoint(tmp_path):
    """The checkpoint of another step, or a model, under the name of one is passed over."""
    save_checkpoint(tmp_path, 1, {})
    save_state(tmp_path / "step-00000002.safetensors", {"step": 1})
    save_state(tmp_path / "step-00000003.safetensors", {"weight": torch.ones(2)})
    latest = load_latest(tmp_path)
    assert latest.step == 1
    assert [str(error) for error in latest.damaged] == [
        (
            f"{tmp_path / 'step-00000003.safetensors'}: is not a checkpoint but of something else\n"
            "Restore it from a copy, or train again."
        ),
        (
            f"{tmp_path / 'step-00000002.safetensors'}: is not a checkpoint but of step 1\n"
            "Restore it from a copy, or train again."
        ),
    ]


def test_a_checkpoint_can_be_chosen(tmp_path):
    """The newest checkpoint can be chosen, one by its step, or the best, which no pruning removes."""
    save_best(tmp_path, 1, {"at": 1})
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"at": step}, keep=2)
    found = {which: load_checkpoint(tmp_path, which).step for which in ("last", "best", 2)}
    assert found == {"last": 3, "best": 1, 2: 2}
    assert list(checkpoint_paths(tmp_path)) == [2, 3]
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path, 1)
    assert str(caught.value) == (
        f"{tmp_path}: there is no checkpoint of step 1\nGive the step of another one, 2, 3, or 'last'."
    )


@pytest.mark.parametrize(
    ("which", "problem"),
    [
        ("last", "there are no checkpoints"),
        ("best", "there is no best checkpoint: the run has not measured held-out recordings yet"),
        (5, "there is no checkpoint of step 5"),
    ],
)
def test_a_checkpoint_that_is_not_there(which, problem, tmp_path):
    """A run without any checkpoint is refused with one message."""
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path, which)
    assert str(caught.value) == f"{tmp_path}: {problem}\nTrain the run on."


def test_the_best_checkpoint_is_one_to_go_on_from(tmp_path):
    """A run resumes from its best checkpoint if no other one is whole."""
    save_best(tmp_path, 1, {"at": 1})
    assert load_latest(tmp_path).state == {"step": 1, "at": 1}
    (tmp_path / "step-00000002.safetensors").touch()
    latest = load_latest(tmp_path)
    assert (latest.step, len(latest.damaged)) == (1, 1)


def test_a_damaged_best_checkpoint_is_said(tmp_path):
    """A damaged best checkpoint is an error, because there is no other one to fall back on."""
    path = save_best(tmp_path, 1, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"best\.safetensors: the file is cut short"):
        load_checkpoint(tmp_path, "best")


def test_checkpoints_that_cannot_be_listed_are_not_none(tmp_path):
    """A folder that cannot be listed, or a file in its place, is not taken for a fresh start."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        load_latest(tmp_path / "file")
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: the checkpoints cannot be listed: Not a directory\n"
        "Make sure that it is a folder that you may read."
    )


def test_no_whole_checkpoint_is_an_error(tmp_path):
    """A folder of damaged checkpoints is not taken for a fresh start."""
    for step in (1, 2):
        (tmp_path / f"step-{step:08d}.safetensors").touch()
    with pytest.raises(RunError) as caught:
        load_latest(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: none of the 2 checkpoints can be read\nRestore it from a copy, or train again."
    )


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from distill.storage.checkpoints import save_checkpoint
save_checkpoint(Path(sys.argv[1]), 1, {"step": 1})
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
save_checkpoint(Path(sys.argv[1]), 2, {"step": 2}, keep=1)
"""


def test_a_kill_leaves_the_last_whole_checkpoint(tmp_path):
    """A process killed while it saves leaves the checkpoint before; the next save tidies up after it."""
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(partials(tmp_path)) == 1
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state, latest.damaged) == (1, {"step": 1}, ())
    save_checkpoint(tmp_path, 2, {"step": 2}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.safetensors"]


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
