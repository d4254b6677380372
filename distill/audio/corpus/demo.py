"""The demo corpus: 24 synthesized sounds, for trying out training without recordings."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from distill.audio.corpus.places import REMEDY
from distill.audio.corpus.synthesis import Clock, Drum, Sound, bell, drum, pad, pluck
from distill.audio.corpus.writing import require_no_link, writing_to
from distill.storage.files import write_whole

_SECONDS = 2.0
_FADE_SECONDS = 0.02
_PEAK = 10 ** (-3 / 20)

_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


def _pitch(note: str) -> float:
    """Return the frequency in Hz of a note in equal temperament, such as 440 for `a4`."""
    return 440.0 * 2 ** ((_SEMITONES[note[0]] - 9) / 12 + int(note[1:]) - 4)


# The strings of a guitar, a pentatonic scale and chords of A minor, so that any two sounds harmonize.
_PLUCKS = {"e2": 4.0, "a2": 3.5, "d3": 3.0, "g3": 2.6, "b3": 2.2, "e4": 1.8}
_BELLS = {"a3": 3.5, "c4": 3.0, "e4": 2.8, "g4": 2.4, "a4": 2.2, "d5": 1.8}
_DRUMS = {
    "kick": Drum(50, 2.0, 0.7, 2.0, (800, 4000), 0.04),
    "tom": Drum(98, 0.8, 0.9, 1.6, (150, 1500), 0.25),
    "conga": Drum(196, 0.4, 0.5, 1.4, (300, 3000), 0.12),
    "snare": Drum(233, 0.5, 0.2, 0.6, (900, 9000), 0.4),
    "shaker": Drum(880, 0.1, 0.05, 0.1, (4000, 10000), 0.3),
    "cymbal": Drum(440, 0.0, 0.3, 0.1, (3000, 14000), 1.8),
}
_PADS = {
    "a_minor": (("a2", "e3", "c4"), 0.4),
    "c_major": (("c3", "g3", "e4"), 0.6),
    "d_minor": (("d3", "a3", "f4"), 0.5),
    "e_minor": (("e3", "b3", "g4"), 0.8),
    "f_major": (("f2", "c3", "a3"), 0.7),
    "g_major": (("g2", "d3", "b3"), 0.3),
}

_SOUNDS: dict[str, Callable[[Clock, np.random.Generator], Sound]] = {
    **{f"pluck_{note}": partial(pluck, frequency=_pitch(note), ring=ring) for note, ring in _PLUCKS.items()},
    **{f"bell_{note}": partial(bell, frequency=_pitch(note), ring=ring) for note, ring in _BELLS.items()},
    **{f"drum_{name}": partial(drum, kind=kind) for name, kind in _DRUMS.items()},
    **{
        f"pad_{name}": partial(pad, frequencies=tuple(_pitch(note) for note in chord), sweep=sweep)
        for name, (chord, sweep) in _PADS.items()
    },
}


def write_demo_corpus(folder: Path, sample_rate: int = 44100) -> Path:
    """Write the demo corpus to `folder` and return the folder.

    The corpus consists of 24 WAV files of 24 bits and 2 seconds with a peak of -3 dBFS: plucked strings, FM
    bells and noise drums in mono, pads in stereo. It is deterministic. Existing equal files are not written
    again, so that a cache made from them stays valid.

    Raises:
        CorpusError: the folder cannot be written.
    """
    require_no_link(folder)
    with writing_to(folder, "the demo corpus", remedy=REMEDY):
        for seed, (name, play) in enumerate(_SOUNDS.items()):
            content = _render(play, seed, sample_rate)
            path = folder / f"{name}.wav"
            if not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
    return folder


def _render(play: Callable[[Clock, np.random.Generator], Sound], seed: int, sample_rate: int) -> bytes:
    clock = Clock.lasting(_SECONDS, sample_rate)
    sound = play(clock, np.random.default_rng(seed))
    sound = (sound.T * clock.fall(_FADE_SECONDS)).T
    sound *= _PEAK / np.abs(sound).max()
    file = io.BytesIO()
    soundfile.write(file, sound, sample_rate, format="WAV", subtype="PCM_24")
    return file.getvalue()
