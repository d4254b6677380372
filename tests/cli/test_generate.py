"""Tests of `distill generate`."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from distill.errors import InputError
from distill.inference import load
from distill.storage.checkpoints import load_state, save_state


@pytest.fixture
def generate(distill, trained, tmp_path):
    """Generate to a folder, and return its sounds by name."""

    def run(out, *words):
        result = distill("generate", trained.folder, "--out", tmp_path / out, *words)
        assert (result.status, result.err) == (0, "")
        files = sorted((tmp_path / out).iterdir())
        assert [line.partition("  (")[0] for line in result.out.splitlines()] == [str(file) for file in files]
        return {file.name: soundfile.read(file) for file in files}

    return run


def test_as_many_sounds_as_asked_for(generate):
    """The sounds are numbered, finite, not silent, and at the sample rate of the model."""
    made = generate("out", "-n", 3)
    assert list(made) == ["sound-001.wav", "sound-002.wav", "sound-003.wav"]
    for sound, rate in made.values():
        assert rate == 8000
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 1e-3
        assert 0.25 * rate < len(sound) < 0.6 * rate  # the recordings have 0.3 to 0.5 s


def test_eight_unless_asked_otherwise(generate):
    """The command makes eight sounds by default, as its help says."""
    assert len(generate("out")) == 8


def test_a_seed_makes_its_sounds(generate):
    """The same seed makes the same sounds again, and another seed makes other ones."""
    one, same, other = (
        generate(out, "-n", 2, "--seed", seed) for out, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    for name in one:
        assert np.array_equal(one[name][0], same[name][0])
        assert not np.array_equal(one[name][0], other[name][0])
    assert not np.array_equal(one["sound-001.wav"][0], one["sound-002.wav"][0])


def test_more_sounds_begin_with_the_same(generate):
    """The first of many is the first of few."""
    few, many = generate("few", "-n", 1), generate("many", "-n", 3)
    assert np.array_equal(few["sound-001.wav"][0], many["sound-001.wav"][0])


@pytest.mark.parametrize("seconds", [0.05, 0.7, 2.0])
def test_a_length_can_be_asked_for(generate, seconds):
    """The sound has the length asked for, to the sample."""
    ((sound, rate),) = generate("out", "-n", 1, "--seconds", seconds).values()
    assert len(sound) == int(seconds * rate)


def test_temperature_wanders(generate):
    """The sound at temperature 0 differs from the one at temperature 1."""
    calm, warm = (generate(str(t), "-n", 1, "--temperature", t)["sound-001.wav"][0] for t in (0, 1))
    assert calm.shape == warm.shape
    assert not np.array_equal(calm, warm)


def louder(latents, units=1):
    """Raise the levels of both frames of a latent, its first numbers, by 3 nepers, or 26 dB, a unit."""
    if isinstance(latents, dict):
        return latents | {"latents": louder(latents["latents"], units)}
    latents[..., :2, :] += units
    return latents


def test_sounds_stay_within_full_scale(distill, trained, tmp_path):
    """A sound that is too loud is turned down as a whole, with a note by how much; --no-limit keeps it."""
    run = shutil.copytree(trained.folder, tmp_path / "run")
    bank = load_state(run / "latents.safetensors")["latents"]
    # A tenth is quiet, so that no sound would be too quiet when turned down.
    bank = {name: louder(latents, 1 if at % 10 else -3) for at, (name, latents) in enumerate(bank.items())}
    save_state(run / "latents.safetensors", {"latents": bank})
    words = ("generate", run, "-n", 3)
    again = distill(*words, "--out", tmp_path / "limited")
    assert distill(*words, "--out", tmp_path / "kept", "--no-limit").status == 0
    limited, kept = (
        {file.name: soundfile.read(file) for file in sorted((tmp_path / out).iterdir())}
        for out in ("limited", "kept")
    )
    loud = 0
    for line, name in zip(again.out.splitlines(), kept, strict=True):
        peak = np.abs(kept[name][0]).max()
        note = f"  (turned down by {20 * np.log10(peak):.1f} dB)" if peak > 1 else ""
        assert line == f"{tmp_path / 'limited' / name}{note}"
        assert np.abs(limited[name][0] - kept[name][0] / max(peak, 1)).max() < 2**-22
        subtypes = [soundfile.info(tmp_path / out / name).subtype for out in ("limited", "kept")]
        assert subtypes == ["PCM_24", "FLOAT" if peak > 1 else "PCM_24"]
        loud += peak > 1
    assert loud


def test_a_run_that_is_not_finished(distill, trained, tmp_path):
    """A run that has no latents yet is refused with one message."""
    run = shutil.copytree(trained.folder, tmp_path / "run")
    (run / "latents.safetensors").unlink()
    result = distill("generate", run, "--out", tmp_path / "out")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {run}: holds no latents to make sounds of\n"
        "They are written at the end of the training: go on with --resume.\n"
    )
    assert not (tmp_path / "out").exists()


def test_existing_sounds_are_not_written_over(distill, generate, trained, tmp_path):
    """An existing file is refused before any sound is made; --overwrite replaces it."""
    out = tmp_path / "out"
    generate("out", "-n", 2)
    first, second = (out / f"sound-00{number}.wav" for number in (1, 2))
    first.unlink()
    before = second.read_bytes()
    words = ("generate", trained.folder, "--out", out, "-n", 3, "--seed", 1)
    result = distill(*words)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {second}: exists already\n"
        "Add --overwrite to replace what is there, or choose another folder with --out.\n"
    )
    assert list(out.iterdir()) == [second]
    assert second.read_bytes() == before
    assert distill(*words, "--overwrite").status == 0
    assert second.read_bytes() != before
    assert len(list(out.iterdir())) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("-n", 0),
        ("--seed", -1),
        ("--temperature", -0.1),
        ("--seconds", 0.01),
        ("--steps", 1),
        ("--amount", 2),
    ],
)
def test_what_cannot_be_made(distill, trained, tmp_path, words):
    """Values out of bounds are named, with their bounds, and nothing is written."""
    result = distill("generate", trained.folder, "--out", tmp_path / "out", *words)
    assert result.status == 2
    assert f"Invalid value for '{words[0]}'" in result.err
    assert " is not in the range " in result.err
    assert not (tmp_path / "out").exists()


def test_sounds_of_a_checkpoint(distill, trained, tmp_path):
    """The latents of a checkpoint are computed from the recordings of the run."""
    words = ("-n", 1, "--seconds", 0.1, "--checkpoint", "best", "--out", tmp_path / "new")
    result = distill("generate", trained.folder, *words)
    assert (result.status, result.err) == (0, "")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sound-001.wav"]


def comment_of(path):
    """Return what a file was made with, from its comment."""
    with soundfile.SoundFile(path) as sound:
        made, _, text = sound.comment.partition(": ")
        assert made == "Made by Distill"
        return json.loads(text)


def test_axes_are_listed(distill, measured):
    """The list has a heading and, for each axis, its range and what it changes; JSON holds the same."""
    listed = json.loads(distill("generate", measured, "--axes", "--json").out)
    assert {"name", "unit", "effect", "correlation", "description", "lowest", "highest"} == {*listed[0]}
    result = distill("generate", measured, "--axes")
    heading, *lines = result.out.splitlines()
    assert " ".join(heading.split()) == (
        "axis range what changes per step, as measured; --axis NAME=1 is one step"
    )
    assert result.err == ""  # they were measured before
    assert len(lines) == len(listed)
    for line, axis in zip(lines, listed, strict=True):
        assert line.split("  ")[0].strip() == axis["name"]
        assert line.endswith(f"  {axis['description']}")


@pytest.mark.parametrize(
    "words", [("--axes",), ("--axis", "loudness=-6", "-n", 1)], ids=lambda words: words[0]
)
def test_measuring_the_axes_is_said(distill, measured, tmp_path, monkeypatch, words):
    """The command says that it measures the axes, which takes long the first time."""
    monkeypatch.setattr("distill.controls.axes._SECONDS", 0.05)
    monkeypatch.setattr("distill.controls.axes._SEEDS", 1)
    run = shutil.copytree(measured, tmp_path / "run")
    (run / "axes.safetensors").unlink()
    words = words if words[0] == "--axes" else (*words, "--out", tmp_path / "new")
    result = distill("generate", run, *words)
    assert result.err == "Measuring the axes of the run ...\n"


def test_a_misspelt_axis_is_told_before_the_axes_are_measured(distill, measured, tmp_path):
    """The message guesses what was meant, and nothing is measured or written."""
    run = shutil.copytree(measured, tmp_path / "run")
    (run / "axes.safetensors").unlink()
    words = ("--axis", "brightnes=+0.5", "--axis", "loudness=99", "--out", tmp_path / "new")
    result = distill("generate", run, *words)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: axes: there is no axis 'brightnes'; did you mean 'brightness'?\n"
        "axes: loudness: expected a number within -24..12, got 99.0\n"
        "Choose among: brightness, noisiness, attack, loudness, "
        "axis 1, axis 2, axis 3, axis 4, axis 5, axis 6.\n"
        "Farther than that, generated sounds do not follow.\n"
    )
    assert not (run / "axes.safetensors").exists()
    assert not (tmp_path / "new").exists()


def test_sounds_are_moved_along_axes(distill, measured, tmp_path):
    """The names and the comments of the files say by how much; loudness is a gain."""
    words = ("generate", measured, "-n", 1, "--format", "flac")
    assert distill(*words, "--out", tmp_path, "--axis", "loudness=-6", "--axis", "axis 1=0").status == 0
    assert distill(*words, "--out", tmp_path).status == 0
    moved, plain = tmp_path / "sound-001_loudness=-6_axis-1=+0.flac", tmp_path / "sound-001.flac"
    one, other = (soundfile.read(path)[0] for path in (moved, plain))
    assert np.abs(one * 10 ** (6 / 20) - other).max() < 2**-20
    made_with = comment_of(moved)
    assert len(made_with.pop("checksum")) == 32
    assert made_with == {
        "run": "run", "seed": 0, "temperature": 1.0, "seconds": None, "number": 1,
        "axes": {"loudness": -6.0, "axis 1": 0.0},
    }  # fmt: skip


def test_sounds_between_and_near_others(distill, trained, recordings, tmp_path):
    """Sounds are made between a file and a recording of the run, or near a file; each has its own name."""
    name = next(iter(load_state(trained.folder / "latents.safetensors")["latents"]))
    file = recordings / "stereo.wav"
    words = ("generate", trained.folder, "--out", tmp_path)
    assert distill(*words, "--between", name, file, "--steps", 3).status == 0
    stem = name.rpartition("/")[2].removesuffix(".wav")
    between = [tmp_path / f"{stem}-to-stereo-{number}.wav" for number in (1, 2, 3)]
    assert sorted(tmp_path.iterdir()) == between
    assert comment_of(between[1])["between"] == [f"{stem}.wav", "stereo.wav"]
    assert distill(*words, "--near", file, "--amount", 0, "-n", 1, "--no-limit").status == 0
    assert distill("reconstruct", trained.folder, file, "--out", tmp_path / "back").status == 0
    near, back = (
        soundfile.read(each)[0] for each in (tmp_path / "near-stereo-001.wav", tmp_path / "back/stereo.wav")
    )
    assert np.abs(near - back).max() < 1e-6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing option '--out'."),
        (("--between", "a", "b", "--near", "c"), "--between and --near cannot be given together."),
        (
            ("--axes", "--near", "a", "--between", "b", "c"),
            "--axes, --between and --near cannot be given together.",
        ),
        (("--near", "a", "--steps", "3"), "--steps has no effect with --near: leave it out."),
        (
            ("--near", "a", "--steps", "3", "--seconds", "2"),
            "--seconds and --steps have no effect with --near: leave them out.",
        ),
        (("--axes", "--seed", "3"), "--seed has no effect with --axes: leave it out."),
        (("--amount", "0.3"), "--amount belongs to --near, which is not given."),
        (("--json",), "--json belongs to --axes, which is not given."),
        (
            ("--amount", "0.3", "--json"),
            "--amount belongs to --near, which is not given.\n--json belongs to --axes, which is not given.",
        ),
        (
            ("--no-limit", "--format", "flac"),
            "FLAC cannot hold peaks above full scale: leave out --no-limit.",
        ),
        (("--axis", "a=1", "--axis", "a=2"), "--axis a is given twice."),
        (
            ("--axis", "a=1", "--axis", "b=1", "--axis", "a=2", "--axis", "b=2"),
            "--axis a and --axis b are given twice.",
        ),
        (("--axis", "a"), "Invalid value for '--axis': 'a' is not NAME=VALUE, such as brightness=+0.5."),
        (("--axis", "a=b"), "Invalid value for '--axis': 'b' is not a number, such as +0.5."),
    ],
)
def test_options_that_make_no_sense(distill, trained, words, message):
    """Options that make no sense are refused with one message."""
    result = distill("generate", trained.folder, *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith(f"\nError: {message}\n")


def test_a_sound_that_is_neither_a_file_nor_a_recording(distill, trained, tmp_path):
    """A sound that is neither a file nor a recording of the run is refused with one message."""
    result = distill("generate", trained.folder, "--near", "nothing", "--out", tmp_path / "out")
    names = ", ".join(load_state(trained.folder / "latents.safetensors")["latents"])
    problem = "there is no such file, and no training recording of that name"
    assert (result.status, result.err) == (
        2,
        f"Error: --near nothing: {problem}\nPass a file, or one of: {names}.\n",
    )
    result = distill("generate", trained.folder, "--near", tmp_path, "--out", tmp_path / "out")
    assert result.status == 2
    assert result.err == (
        f"Error: --near {tmp_path}: is a folder, and no training recording of that name\n"
        f"Pass a file, or one of: {names}.\n"
    )
    result = distill("generate", trained.folder, "--between", "a", "b", "--out", tmp_path / "out")
    assert (result.status, result.err) == (
        2,
        f"Error: --between a: {problem}\n--between b: {problem}\nPass a file, or one of: {names}.\n",
    )


def test_a_misspelled_recording_is_guessed(distill, trained, tmp_path):
    """The closest name of a training recording is suggested, on the command line and in Python."""
    name = next(iter(load_state(trained.folder / "latents.safetensors")["latents"]))
    guess = f"there is no training recording 'x{name}'; did you mean '{name}'?\n"
    result = distill("generate", trained.folder, "--near", f"x{name}", "--out", tmp_path / "out")
    assert f"no training recording of that name; did you mean '{name}'?\n" in result.err
    with pytest.raises(InputError, match=re.escape(guess)):
        load(trained.folder).near(f"x{name}")


def test_a_name_of_thousands_of_letters_is_no_recording(distill, trained, tmp_path):
    """A name that no file system takes is refused as any other, and cut in the message."""
    result = distill("generate", trained.folder, "--near", "a" * 5000, "--out", tmp_path / "out")
    shown = f"--near {'a' * 193}...{'a' * 200}"
    assert result.err.startswith(f"Error: {shown}: there is no such file, and no training recording of that")


def test_an_empty_name_is_no_recording(distill, trained, tmp_path):
    """An empty name is refused, and no other sounds are made instead."""
    result = distill("generate", trained.folder, "--near", "", "--out", tmp_path / "out")
    assert result.status == 2
    assert result.err.startswith("Error: --near : there is no such file, and no training recording of that")


class AxesError(Exception):
    """Raised where axes are measured."""


def _changed(state, name, value):
    state["axes"][0][name] = value


@pytest.mark.parametrize(
    "change",
    [
        lambda state: _changed(state, "extra", 1.0),
        lambda state: _changed(state, "name", "<script>"),
        lambda state: _changed(state, "lowest", 5.0),
        lambda state: state["axes"].append(state["axes"][0]),
    ],
    ids=["extra", "unknown", "range", "twice"],
)
def test_axes_that_are_not_those_of_the_model_are_measured_again(measured, change, tmp_path, monkeypatch):
    """Stored axes that do not fit the model are measured again, as the file may be a stranger's."""
    folder = shutil.copytree(measured, tmp_path / "run")
    state = load_state(folder / "axes.safetensors")
    change(state)
    save_state(folder / "axes.safetensors", state)

    def measure(*_):
        raise AxesError("they are measured")

    monkeypatch.setattr("distill.controls.stored.measure_axes", measure)
    assert load(measured).axes
    with pytest.raises(AxesError):
        load(folder).axes  # noqa: B018  # which are measured at first use
