"""Synthetic sounds for training the base model, similar to those in sample libraries.

A sound is a function of its seed. It is drawn from one of the families below, and then processed at random:
distortion, effects, reverberation, equalization, trimming, level and background noise.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from . import effects, glitches, mixtures, noise, percussion, recording, rooms, speech, strings, tones
from .curves import Sound, log_uniform, normalized
from .families import Family

__all__ = ["FAMILIES", "Family", "family_of", "make_sound", "make_sound_of"]

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
    "pitched drum": Family(percussion.pitched_drum, 4, 0.3, 2.5),
    "snare": Family(percussion.snare, 4, 0.3, 1),
    "clap": Family(percussion.clap, 1.5, 0.3, 1),
    "impact": Family(percussion.impact, 3, 0.3, 3),
    "strings": Family(strings.strings, 7, 0.4, 6),
    "speech": Family(speech.speech, 9, 0.4, 4),
    "singing": Family(speech.singing, 3, 0.6, 4),
    "filtered noise": Family(noise.filtered_noise, 4, 0.3, 4),
    "evolving noise": Family(noise.evolving_noise, 3, 0.3, 4),
    "wind": Family(noise.wind, 2, 1, 6),
    "grains": Family(noise.grains, 2.5, 0.3, 4),
    "vinyl": Family(noise.vinyl, 2.5, 0.5, 5),
    "gated noise": Family(noise.gated_noise, 1.5, 0.3, 4),
    "clicks": Family(glitches.clicks, 1.5, 0.3, 1.5),
    "pulses": Family(glitches.pulses, 1.5, 0.3, 2),
    "data": Family(glitches.data, 1, 0.3, 2),
    "crushed": Family(glitches.crushed, 2, 0.3, 2),
    "stutter": Family(glitches.stutter, 2, 0.3, 3),
    "drum loop": Family(mixtures.drum_loop, 8, 1, 6),
    "melody": Family(mixtures.melody, 5, 1, 5),
}
FAMILIES = _PLAIN | {"layers": Family(partial(mixtures.layers, families=tuple(_PLAIN.values())), 14, 0.5, 5)}
_CHAIN = (  # the processing steps in order, with their probabilities
    (0.7, recording.trimmed),
    (0.35, effects.unsteady),
    (0.35, effects.with_friction),
    (0.08, effects.driven),
    (0.06, effects.chorused),
    (0.1, effects.echoed),
    (0.33, rooms.reverberated),
    (0.3, recording.equalized),
    (0.3, recording.padded),
)
_CHANCES = np.array([family.weight for family in FAMILIES.values()])
_CHANCES = _CHANCES / _CHANCES.sum()


def make_sound(seed: int, sample_rate: int = 44_100) -> NDArray[np.float32]:
    """Return the sound of a seed, [N], of 0.3 to 6 seconds with a peak of at most 1.

    Args:
        seed: a non-negative integer. Equal seeds give equal sounds.
        sample_rate: in Hz.
    """
    rng = np.random.default_rng(seed)
    return make_sound_of(FAMILIES[_draw(rng)], rng, sample_rate)


def family_of(seed: int) -> str:
    """Return the name of the family of a seed's sound."""
    return _draw(np.random.default_rng(seed))


def _draw(rng: np.random.Generator) -> str:
    return tuple(FAMILIES)[rng.choice(len(FAMILIES), p=_CHANCES)]


def make_sound_of(family: Family, rng: np.random.Generator, sample_rate: int = 44_100) -> Sound:
    """Return a sound of a family, [N], with random processing."""
    n = round(log_uniform(rng, family.shortest, family.longest) * sample_rate)
    x = normalized(family.make(rng, n, sample_rate))
    for chance, step in _CHAIN:
        if rng.random() < chance:
            x = step(rng, x, sample_rate)
    x = normalized(x[: 6 * sample_rate]) * np.float32(recording.peak_level(rng))
    if rng.random() < 0.33:
        x = x + recording.noise_floor(rng, len(x), sample_rate)
    if rng.random() < 0.6:
        x = recording.quantized(rng, x)
    return np.clip(x, -1, 1).astype(np.float32)
