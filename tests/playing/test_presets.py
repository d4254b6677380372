"""Tests of presets in a run folder."""

import json
import os
import re

import pytest

from distill.errors import InputError, RunError
from distill.playing.presets import load_presets, remove_preset, save_preset
from distill.playing.sound import Between, Random, Recording, Sound
from distill.storage.run import Run

ONE, TWO = (Sound(source=Random(seed=seed)) for seed in (1, 2))
REMEDY = "\nPresets are saved there. Move it to another place, or restore it from a copy."


@pytest.fixture
def run(tmp_path):
    """Return an empty run folder."""
    return Run(tmp_path)


def test_presets_are_saved_and_loaded(run):
    """Presets are loaded in their order; one of the same name is replaced, and others stay."""
    assert load_presets(run) == {}
    save_preset(run, "b", ONE)
    save_preset(run, " a\n", TWO)
    assert save_preset(run, "b", TWO) == load_presets(run) == {"b": TWO, "a": TWO}
    assert [*load_presets(run)] == ["b", "a"]
    assert remove_preset(run, "b") == load_presets(run) == {"a": TWO}
    assert [path.name for path in run.folder.iterdir()] == ["presets.json"]


SOUND = {"name": "a", "random": 1, "axes": {}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "does not hold presets: Expecting property name"),
        ("[" * 100_000, "does not hold presets: it is nested too deeply"),
        ('{"my": "file"}', 'does not hold presets: its format is not "distill-presets"'),
        ({"version": 2}, "does not hold presets: expected version 1, got 2"),
        ({"sounds": {}}, "does not hold presets: expected a list of at most 10,000 sounds"),
        ({"sounds": [SOUND | {"name": 3}]}, "does not hold presets: sound 1 has no name"),
        (
            {"sounds": [SOUND, SOUND | {"random": "x"}]},
            "does not hold presets: sound 2, a: expected a whole number from 0 to",
        ),
        (
            {"sounds": [SOUND | {"axes": {"\ud800": 1}}]},
            "does not hold presets: sound 1, a: expected a name that is text, got",
        ),
    ],
)
def test_another_file_in_their_place_is_not_written_over(run, content, problem):
    """The message names it, whether presets are read or saved."""
    if not isinstance(content, str):
        content = json.dumps({"format": "distill-presets", "version": 1, "sounds": []} | content)
    run.presets.write_text(content)
    for use in (lambda: load_presets(run), lambda: save_preset(run, "b", ONE)):
        with pytest.raises(RunError, match=re.escape(problem)) as caught:
            use()
        assert str(caught.value).startswith(f"{run.presets}: {problem}")
        assert str(caught.value).endswith(REMEDY)
    assert run.presets.read_text() == content


def test_a_link_is_not_followed(run, tmp_path_factory):
    """A pipe in place of the file is refused at once."""
    other = tmp_path_factory.mktemp("other") / "file.json"
    other.write_text('{"format": "distill-presets", "version": 1, "sounds": []}')
    run.presets.symlink_to(other)
    with pytest.raises(RunError) as caught:
        load_presets(run)
    assert str(caught.value) == f"{run.presets}: is a link{REMEDY}"
    run.presets.unlink()
    os.mkfifo(run.presets)
    with pytest.raises(RunError, match="it is not an ordinary file"):
        load_presets(run)


def test_what_cannot_be_a_preset(run):
    """A preset that cannot be saved is refused with the reason, and nothing is written."""
    own = Between(first=Recording(name="a.wav"), second=Recording(name="mine.wav", own="0"), position=0.5)
    messages = []
    for name, sound in (("", ONE), ("x" * 201, ONE), ("a", Sound(source=own))):
        with pytest.raises(InputError) as caught:
            save_preset(run, name, sound)
        messages.append(str(caught.value).partition("\n")[0])
    assert messages == [
        "preset: expected a name of 1 to 200 characters",
        "preset: expected a name of 1 to 200 characters",
        "preset: needs a file of your own, mine.wav, which is not in the run",
    ]
    assert caught.value.remedy == "Keep it as a take, or save it as a sound file."
    assert not run.presets.exists()
