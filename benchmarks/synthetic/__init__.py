"""Sounds for training before there are recordings: what lies in sample libraries, made by a program.

A sound is a function of its seed. It is of one of the families below; then it may be driven, put into a room,
coloured, cut, and given a level and a floor of noise.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from . import glitches, mixtures, noise, percussion, recording, rooms, speech, strings, tones
from .curves import Sound, log_uniform
from .families import Family

__all__ = ["FAMILIES", "Family", "make_sound"]

_PLAIN = {
    "tone": Family(tones.tone, 7, 0.3, 4),
    "plain tone": Family(tones.plain_tone, 2, 0.3, 2),
    "chord": Family(tones.chord, 4, 0.5, 5),
    "pad": Family(tones.pad, 4, 1.5, 6),
    "bass": Family(tones.bass, 5, 0.3, 4),
    "sweep": Family(tones.sweep, 2, 0.3, 4),
    "frequency modulation": Family(tones.frequency_modulation, 5, 0.3, 4),
    "ring modulation": Family(tones.ring_modulation, 2, 0.3, 3),
    "modal": Family(percussion.modal, 9, 0.3, 5),
    "cymbal": Family(percussion.cymbal, 4, 0.3, 5),
    "hat": Family(percussion.hat, 4, 0.3, 1),
    "kick": Family(percussion.kick, 4, 0.3, 1),
    "bent drum": Family(percussion.bent_drum, 4, 0.3, 2.5),
    "snare": Family(percussion.snare, 4, 0.3, 1),
    "clap": Family(percussion.clap, 1.5, 0.3, 1),
    "impact": Family(percussion.impact, 3, 0.3, 3),
    "strings": Family(strings.strings, 7, 0.4, 6),
    "speech": Family(speech.speech, 7, 0.4, 4),
    "singing": Family(speech.singing, 3, 0.6, 4),
    "coloured noise": Family(noise.coloured_noise, 4, 0.3, 4),
    "moving colours": Family(noise.moving_colours, 3, 0.3, 4),
    "wind": Family(noise.wind, 1.5, 1, 6),
    "grains": Family(noise.grains, 2.5, 0.3, 4),
    "vinyl": Family(noise.vinyl, 1.5, 0.5, 5),
    "gated noise": Family(noise.gated_noise, 1.5, 0.3, 4),
    "clicks": Family(glitches.clicks, 1.5, 0.3, 1.5),
    "pulses": Family(glitches.pulses, 1.5, 0.3, 2),
    "data": Family(glitches.data, 1, 0.3, 2),
    "crushed": Family(glitches.crushed, 2, 0.3, 2),
    "stutter": Family(glitches.stutter, 2, 0.3, 3),
    "drum loop": Family(mixtures.drum_loop, 7, 1, 6),
    "melody": Family(mixtures.melody, 5, 1, 5),
}
FAMILIES = _PLAIN | {"layers": Family(partial(mixtures.layers, families=tuple(_PLAIN.values())), 12, 0.5, 5)}
_CHANCES = np.array([family.weight for family in FAMILIES.values()])
_CHANCES = _CHANCES / _CHANCES.sum()


def make_sound(seed: int, sample_rate: int = 44_100) -> NDArray[np.float32]:
    """Return the sound of a seed, [N]: 0.3 to 6 seconds, a peak of at most 1.

    Args:
        seed: Any integer that is not negative; the same one gives the same sound.
        sample_rate: In Hz.
    """
    rng = np.random.default_rng(seed)
    family = tuple(FAMILIES.values())[rng.choice(len(FAMILIES), p=_CHANCES)]
    return make_sound_of(family, rng, sample_rate)


def make_sound_of(family: Family, rng: np.random.Generator, sample_rate: int = 44_100) -> Sound:
    """Return a sound of a family, [N], as it might lie in a sample library."""
    n = round(log_uniform(rng, family.shortest, family.longest) * sample_rate)
    x = mixtures.normalised(family.make(rng, n, sample_rate))
    if rng.random() < 0.08:
        x = recording.driven(rng, x)
    if rng.random() < 0.12:
        x = rooms.echoed(rng, x, sample_rate)
    if rng.random() < 0.33:
        tail = np.zeros(int(rng.uniform(0, 6 * sample_rate - n) * rng.random() ** 2), np.float32)
        x = rooms.reverberated(rng, np.concatenate([x, tail]), sample_rate)
    if rng.random() < 0.35:
        x = recording.coloured(rng, x, sample_rate)
    x = recording.cut(rng, x, sample_rate)
    x = mixtures.normalised(x) * np.float32(recording.peak_level(rng))
    if rng.random() < 0.33:
        x = x + recording.floor_of_noise(rng, len(x), sample_rate)
    return np.clip(x, -1, 1).astype(np.float32)
