"""Tests of `distill reconstruct`."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from distill.model import sounds
from distill.storage.ending import Ending
from distill.storage.run import Run


def write(path, samples, rate=8000, channels=1, level=0.5):
    """Write a sine, with each channel an octave above the one before."""
    path.parent.mkdir(exist_ok=True, parents=True)
    pitch = 2 * np.pi * 330 * 2.0 ** np.arange(channels)
    sound = level * np.sin(np.arange(samples)[:, None] / rate * pitch)
    soundfile.write(path, sound, rate)
    return path


@pytest.mark.parametrize(
    ("samples", "rate", "channels", "name"),
    [
        (11_025, 22_050, 2, "stereo.wav"),
        (24_000, 48_000, 1, "mono.flac"),
        (3, 8000, 1, "tiny.wav"),
        (1, 44_100, 2, "one.wav"),
        (4001, 8000, 3, "three.wav"),
    ],
)
def test_length_rate_and_channels_are_those_of_the_file(
    distill, trained, here, samples, rate, channels, name
):
    """The output is a WAV file with the length, rate and channels of its source, down to one sample."""
    file = write(here / name, samples, rate, channels)
    result = distill("reconstruct", trained.folder, file, "--out", "made")
    stem = name.partition(".")[0]
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"made/{stem}.wav")  # and goes on where its peak exceeds full scale
    made, made_rate = soundfile.read(here / "made" / f"{stem}.wav", always_2d=True)
    assert (made.shape, made_rate) == ((samples, channels), rate)
    assert np.isfinite(made).all()


def test_an_unusual_level_of_a_file_is_said(distill, trained, here):
    """The command names an unusual level as a training does, and accepts a silent recording."""
    soundfile.write(here / "loud.wav", 3 * np.sin(np.arange(800)), 8000, "FLOAT")
    soundfile.write(here / "silent.wav", np.zeros(800), 8000)
    result = distill("reconstruct", trained.folder, "loud.wav", "silent.wav", "--out", "made")
    assert [line.rpartition("  ")[2] for line in result.out.splitlines()] == [
        "(the recording peaks at +9.5 dB, above full scale)",
        "(the recording is silent throughout)",
    ]


def test_a_file_is_named_by_its_whole_stem(distill, trained, here):
    """A name loses only its suffix, and several files are made in turn."""
    files = [write(here / name, 800) for name in ("a.b.wav", "below/c.wav")]
    result = distill("reconstruct", trained.folder, *files, "--out", "made")
    assert [line.partition("  ")[0] for line in result.out.splitlines()] == ["made/a.b.wav", "made/c.wav"]
    assert sorted(path.name for path in (here / "made").iterdir()) == ["a.b.wav", "c.wav"]


def test_a_long_recording_has_no_click(distill, trained, here, monkeypatch):
    """A stereo recording that is taken in pieces is as smooth where they meet as elsewhere."""
    file = write(here / "long.wav", 16_000, 8000, 2)
    distill("reconstruct", trained.folder, file, "--out", "whole")
    monkeypatch.setattr(sounds, "_PIECE_SECONDS", 0.5)
    distill("reconstruct", trained.folder, file, "--out", "pieces")
    (whole, _), (pieces, _) = (soundfile.read(here / out / "long.wav") for out in ("whole", "pieces"))
    assert whole.shape == pieces.shape == (16_000, 2)
    assert not np.array_equal(whole, pieces)
    steps = np.abs(np.diff(pieces, axis=0))
    largest = np.abs(np.diff(whole[500:-500], axis=0)).max(axis=0)
    for start in range(3200, 15_000, 3200):  # pieces of 4000 samples that overlap by 800
        for seam in (start, start + 800):
            assert (steps[seam - 4 : seam + 4].max(axis=0) < 1.5 * largest).all()


def test_existing_files_are_not_written_over(distill, trained, here):
    """An existing file is refused before any other is made; --overwrite replaces it."""
    files = [write(here / f"{name}.wav", 800) for name in "abcd"]
    made = here / "made"
    for name in "cb":
        write(made / f"{name}.wav", 8)
    before = (made / "b.wav").read_bytes()
    words = ("reconstruct", trained.folder, *files, "--out", "made")
    result = distill(*words)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: made/b.wav: exists already (and 1 more)\n"
        "Add --overwrite to replace what is there, or choose another folder with --out.\n"
    )
    assert sorted(path.name for path in made.iterdir()) == ["b.wav", "c.wav"]
    assert (made / "b.wav").read_bytes() == before
    result = distill(*words, "--overwrite")
    assert (result.status, result.err) == (0, "")
    assert [len(soundfile.read(made / f"{name}.wav")[0]) for name in "abcd"] == 4 * [800]


def test_a_hard_link_to_the_source_is_not_written_over(distill, trained, here):
    """A hard link to the source is refused, as it is the source under another name."""
    write(here / "a.wav", 800)
    (here / "made").mkdir()
    (here / "made" / "a.wav").hardlink_to(here / "a.wav")
    result = distill("reconstruct", trained.folder, "a.wav", "--out", "made", "--overwrite")
    assert result.status == 2
    assert result.err.startswith("Error: a.wav: would be written over by its reconstruction\n")


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
@pytest.mark.parametrize("out", [".", "../here", "link"])
def test_a_source_is_not_written_over(distill, trained, here, monkeypatch, out, words):
    """The source is refused as an output by whatever path, with one message, and stays as it is."""
    folder = here / "here"
    file = write(folder / "a.wav", 800)
    (folder / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    before = file.read_bytes()
    result = distill("reconstruct", trained.folder, "a.wav", "--out", out, *words)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: a.wav: would be written over by its reconstruction\nPass another folder with --out.\n"
    )
    assert file.read_bytes() == before


def test_two_files_of_one_stem_are_refused(distill, trained, here):
    """Two sources of one stem are refused with one message, and nothing is written."""
    write(here / "one" / "kick.wav", 800)
    write(here / "two" / "kick.flac", 800)
    result = distill("reconstruct", trained.folder, "one/kick.wav", "two/kick.flac", "--out", "made")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: two/kick.flac: would be written to made/kick.wav, as one/kick.wav would\n"
        "Reconstruct them one after the other, with another --out each.\n"
    )
    assert not (here / "made").exists()


def test_files_that_cannot_be_read(distill, trained, here):
    """A file that is missing and one that is no audio are each refused with one message."""
    (here / "text.wav").write_text("no audio")
    os.mkfifo(here / "pipe.wav")
    result = distill("reconstruct", trained.folder, "pipe.wav", "--out", "made")
    said = "Error: pipe.wav: is not an ordinary file\nCheck the path.\n"
    assert (result.status, result.err) == (2, said)
    result = distill("reconstruct", trained.folder, "gone.wav", "--out", "made")
    assert (result.status, result.err) == (2, "Error: gone.wav: there is no such file\nCheck the path.\n")
    result = distill("reconstruct", trained.folder, "gone.wav", "text.wav", "lost.wav", "--out", "made")
    assert (result.status, result.err) == (
        2,
        "Error: gone.wav: there is no such file\nlost.wav: there is no such file\nCheck the path.\n",
    )
    result = distill("reconstruct", trained.folder, "text.wav", "--out", "made")
    assert result.status == 2
    assert result.err == (
        "Error: text.wav: is not audio that libsndfile reads\n"
        "Export it again, as WAV, AIFF, FLAC, Ogg or MP3.\n"
    )
    assert not (here / "made").exists()


@pytest.mark.parametrize("command", ["reconstruct", "generate", "evaluate"])
class TestARunThatCannotBeUsed:
    """Each command that needs a trained model gives the same message about an unusable run."""

    @pytest.fixture
    def run(self, trained, here):
        """Copy the trained run, to be damaged."""
        return shutil.copytree(trained.folder, here / "run")

    def fail(self, distill, here, command, run="run"):
        """Run the command, see it fail and write nothing; return the message."""
        file = write(here / "sounds" / "a.wav", 800)
        words = {
            "reconstruct": (run, file, "--out", "made"),
            "generate": (run, "--out", "made"),
            "evaluate": (run, file),
        }
        result = distill(command, *words[command])
        assert (result.status, result.out) == (2, "")
        assert not (here / "made").exists()
        return result.err

    def test_it_is_not_there(self, distill, here, command):
        """A path that is mistyped is refused."""
        assert self.fail(distill, here, command, "gone") == (
            "Error: gone: there is no such run folder\nPass the folder that `distill train --out` wrote.\n"
        )

    def test_it_is_no_run(self, distill, here, command):
        """A folder of something else is refused."""
        (here / "other").mkdir()
        assert self.fail(distill, here, command, "other") == (
            "Error: other: is not a run folder: it holds no recipe.toml\n"
            "Pass the folder that `distill train --out` wrote.\n"
        )

    def test_it_holds_no_model_yet(self, distill, here, run, command):
        """A run whose training was stopped at its beginning is refused."""
        (run / "model.safetensors").unlink()
        Ending(state="interrupted").write(Run(run))
        shutil.rmtree(run / "checkpoints")
        assert self.fail(distill, here, command) == (
            "Error: run: holds no trained model yet\n"
            "Train it on with --resume; a model is saved every few minutes and at the end.\n"
        )

    def test_its_model_is_damaged(self, distill, here, run, command):
        """A model file that is cut short is refused."""
        model = run / "model.safetensors"
        model.write_bytes(model.read_bytes()[:-5])
        assert self.fail(distill, here, command) == (
            "Error: run/model.safetensors: the file is cut short, damaged, or not a safetensors file\n"
            "Restore it from a copy, or train again.\n"
        )


def test_a_checkpoint_is_used_if_it_is_asked_for(distill, trained, here):
    """Its sound is not that of the finished model, which is calibrated."""
    file = write(here / "a.wav", 1600)
    for words in ((), ("--checkpoint", "best"), ("--checkpoint", 4)):
        out = f"made-{words[-1]}" if words else "made"
        result = distill("reconstruct", trained.folder, file, "--out", out, *words)
        assert (result.status, result.err) == (0, "")
    sounds = {path.parent.name: path.read_bytes() for path in here.glob("made*/a.wav")}
    assert sounds["made-best"] == sounds["made-4"]  # of four steps, the last is the best
    assert sounds["made"] != sounds["made-4"]
