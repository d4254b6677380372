"""Tests of distill.controls.axes and of the stored axes: what is measured, checked and kept."""

import shutil

import pytest
import torch
from attrs import evolve

import distill
from distill.controls import stored
from distill.controls.axes import DESCRIPTORS, Axis, _line, _principal, axis_values, possible_axes
from distill.controls.stored import checksum_of
from distill.errors import InputError
from distill.storage.checkpoints import load_state, save_state


@pytest.fixture(scope="module")
def model(measured):
    """Load the run whose axes are measured."""
    return distill.load(measured)


def axes_of(model):
    """Return the axes of a model with their directions."""
    return stored.axes_of(model.run, model.vae, model.representation, model.latents)


def differences(**slopes):
    """Return a function that gives the changes of descriptors, which are linear; 0 unless they are given."""

    def changes(_, positions):
        row = torch.tensor(positions, dtype=torch.float64)
        return {each: slopes.get(each, 0.0) * row.expand(3, -1) for each in DESCRIPTORS}

    return changes


def test_an_axis_is_named_by_the_descriptor_that_follows_it():
    """An axis is named by the descriptor that follows it, with its effect per step, if it is noticeable."""
    axis = _principal("axis 1", 0.25, differences(brightness=0.8, attack=0.1, noisiness=-1.5))
    assert (axis.unit, axis.effect, axis.correlation) == ("octaves", pytest.approx(0.8), pytest.approx(1.0))
    assert axis.description == (
        "brightness: +0.80 octaves per step, noisiness: -1.50 dB per step; 25% of what recordings differ in"
    )


def test_an_axis_that_no_descriptor_follows_says_so():
    """An axis that no descriptor follows says so, with the correlation of the nearest."""

    def changes(_, positions):
        # The first sound goes up, the second down: no correlation.
        row = torch.tensor(positions, dtype=torch.float64)
        return {each: torch.stack([row, -row]) for each in DESCRIPTORS}

    axis = _principal("axis 2", 0.1, changes)
    assert (axis.unit, axis.effect) == ("", 0.0)
    assert axis.description.startswith("follows no descriptor (nearest: brightness, correlation +0.00)")


def test_slope_and_correlation_compare_each_sound_with_itself():
    """Changes -1, 0, 1 and -1, 0, 3 at -1, 0, 1: the slope is 6 / 4, and r = 6 / sqrt(4 * (2 + 26 / 3))."""
    slope, correlation = _line([-1.0, 1.0], torch.tensor([[-1.0, 1.0], [-1.0, 3.0]]).double())
    assert slope == pytest.approx(1.5)
    assert correlation == pytest.approx(6 / (4 * (2 + 26 / 3)) ** 0.5)


def test_axes_are_stored_and_read_again(measured, monkeypatch):
    """The values are equal, and nothing is measured."""
    first = distill.load(measured).axes
    monkeypatch.setattr("distill.controls.stored.measure_axes", None)
    assert distill.load(measured).axes == first
    assert all(isinstance(axis, Axis) for axis in first)
    assert "loudness" in {axis.name for axis in first}


@pytest.mark.parametrize("harm", ["other model", "damage", "form", "shape", "nan", "text", "list", "nothing"])
def test_what_is_stored_is_checked(measured, tmp_path, monkeypatch, harm):
    """Stored axes that are damaged or of another model are measured again, and the file is replaced."""
    run = shutil.copytree(measured, tmp_path / "run")
    path = run / "axes.safetensors"
    good = axes_of(distill.load(measured))
    state = load_state(path)
    if harm == "other model":
        state["checksum"] = "0" * 32
    elif harm == "form":
        state["form"] = 99
    elif harm == "shape":
        state["principal"] = state["principal"][:, :-1]
    elif harm == "nan":
        state["tilt"] = torch.full((8,), float("nan"))
    elif harm == "text":
        state["axes"][0]["effect"] = "<script>"
    elif harm == "list":
        state["axes"] = [3]
    if harm == "damage":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "nothing":
        path.unlink()
    else:
        save_state(path, state)
    marked = evolve(good, axes=good.axes[:1])
    monkeypatch.setattr("distill.controls.stored.measure_axes", lambda *_: marked)
    assert distill.load(run).axes == good.axes[:1]
    monkeypatch.setattr("distill.controls.stored.measure_axes", None)
    assert distill.load(run).axes == good.axes[:1]


def test_the_checksum_changes_with_the_model_and_its_latents(model):
    """Equal models and latents have equal checksums."""
    first = checksum_of(model.vae, model.latents)
    assert len(first) == 32
    assert checksum_of(model.vae, model.latents) == model.checksum == first
    assert checksum_of(model.vae, dict([*model.latents.items()][1:])) != first


_GIVE = 'Pass a dict, such as {"brightness": 0.5}.'
_CHOOSE = "Choose among: loudness, axis 1."
_NOT = "attack cannot be changed with this model: its recordings do not differ in it enough"
_CHOOSE_ANY = (
    "Choose among: brightness, noisiness, attack, loudness, axis 1, axis 2, axis 3, axis 4, axis 5, axis 6."
)
_FAR = "Farther than that, generated sounds do not follow."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], f"axes: expected numbers by the name of an axis, got a list\n{_GIVE}"),
        ({"brigtness": 1}, f"axes: there is no axis 'brigtness'\n{_CHOOSE}"),
        ({"loudnes": 1}, f"axes: there is no axis 'loudnes'; did you mean 'loudness'?\n{_CHOOSE}"),
        ({1: 1}, f"axes: there is no axis 1\n{_CHOOSE}"),
        ({"a": 1, "b": 1}, f"axes: there is no axis 'a'\nthere is no axis 'b'\n{_CHOOSE}"),
        ({"attack": 1}, f"axes: {_NOT}, or generated sounds do not follow\n{_CHOOSE}"),
        ({"loudness": 13}, f"axes: loudness: expected a number within -24..12, got 13\n{_FAR}"),
        ({"loudness": "1"}, f"axes: loudness: expected a number within -24..12, got '1'\n{_FAR}"),
        ({"loudness": float("nan")}, f"axes: loudness: expected a number within -24..12, got nan\n{_FAR}"),
    ],
)
def test_positions_are_checked(values, message):
    """A position that is no valid value of an axis is refused with the whole message."""
    axes = (
        Axis(name="loudness", unit="dB", effect=1, correlation=1, description="", lowest=-24, highest=12),
        Axis(name="axis 1", unit="", effect=0, correlation=0, description=""),
    )
    with pytest.raises(InputError) as caught:
        axis_values(values, axes)
    assert str(caught.value) == message


def test_measuring_says_how_far_it_is(measured, tmp_path, monkeypatch):
    """Progress rises by one to its total while axes are measured, and there is none when they are known."""
    monkeypatch.setattr("distill.controls.axes._SECONDS", 0.05)
    monkeypatch.setattr("distill.controls.axes._SEEDS", 1)
    folder = shutil.copytree(measured, tmp_path / "run")
    (folder / "axes.safetensors").unlink()
    told = []
    model = distill.load(folder)
    axes = model.measure_axes(on_progress=told.append)
    assert axes == model.axes
    assert {each.stage for each in told} == {"axes"}
    assert [each.done for each in told] == list(range(len(told)))
    assert told[-1].done == told[-1].total
    model.measure_axes(on_progress=told.append)
    distill.load(folder).measure_axes(on_progress=told.append)
    assert told[-1].done == len(told) - 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loudnes": 1}, f"axes: there is no axis 'loudnes'; did you mean 'loudness'?\n{_CHOOSE_ANY}"),
        ({"axis 7": 1}, f"axes: there is no axis 'axis 7'; did you mean 'axis 6'?\n{_CHOOSE_ANY}"),
        ({"brightness": -2.5}, f"axes: brightness: expected a number within -2..2, got -2.5\n{_FAR}"),
        ({"axis 1": 3.5}, f"axes: axis 1: expected a number within -3..3, got 3.5\n{_FAR}"),
        ([1], f"axes: expected numbers by the name of an axis, got a list\n{_GIVE}"),
    ],
)
def test_what_no_model_has_is_refused_before_anything_is_measured(
    measured, tmp_path, monkeypatch, values, message
):
    """A misspelt axis and a position that is never reached are told at once."""
    folder = shutil.copytree(measured, tmp_path / "run")
    (folder / "axes.safetensors").unlink()
    monkeypatch.setattr("distill.controls.stored.measure_axes", None)
    model = distill.load(folder)
    for call in (lambda: model.generate(axes=values), lambda: model.measure_axes(positions=values)):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == message


def test_every_axis_is_a_possible_one(model):
    """No axis that was measured is refused before it is."""
    possible = {axis.name: axis for axis in possible_axes()}
    for axis in model.axes:
        assert possible[axis.name].lowest <= axis.lowest
        assert possible[axis.name].highest >= axis.highest


def test_progress_must_be_callable(model):
    """The message names the argument."""
    with pytest.raises(InputError, match=r"^on_progress: "):
        model.measure_axes(on_progress=3)
