"""Corpora that are passed as arrays: named waveforms in memory instead of files in a folder.

Shapes: `N` samples, `C` channels.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray
from torch import Tensor

from distill.arguments import shown
from distill.audio.corpus.blocks import UnusableError
from distill.audio.corpus.cache import Recording, describe
from distill.audio.corpus.clips import Split
from distill.audio.corpus.decoding import LOWEST_RATE
from distill.audio.corpus.levels import Level
from distill.audio.corpus.opening import Corpus, remarks_on
from distill.audio.corpus.scanning import Skipped
from distill.audio.corpus.splitting import split_recordings
from distill.config.settings import ARRAYS
from distill.errors import CorpusError, InputError, all_of

NamedArray: TypeAlias = tuple[str, Any, int]
"""A name, a waveform `[N]` or `[C, N]` (NumPy, torch or nested sequences), and its sample rate in Hz."""

_HIGHEST_RATE = 10**8
"""The highest sample rate of an array, in Hz."""

_MOST_CHANNELS = 16
"""The number of channels up to which a waveform may have more channels than samples."""

_GIVE = "Pass (name, waveform, sample_rate) for each recording, waveform being floats [N] or [C, N]."
_GIVE_FLOATS = "Pass floats [N] or [C, N], 1 being full scale."


def open_arrays(
    arrays: Iterable[NamedArray], *, sample_rate: int, heldout_fraction: float, full_scale: float = 1.0
) -> Corpus:
    """Open a corpus of arrays, as `open_corpus` opens a folder. They are divided by `full_scale`.

    Waveforms are resampled to `sample_rate` Hz and kept in memory as float32. Unusable ones, such as silence,
    are listed as skipped. A recording has the same digest as a file with the same samples.

    Raises:
        InputError: an entry is not a name, floats `[N]` or `[C, N]`, and a sample rate; or two entries have
            the same name.
        CorpusError: no array can be used.
    """
    checked = [_check(number, each) for number, each in enumerate(_listed(arrays), 1)]
    names = [name for name, _, _ in checked]
    errors = [
        InputError("two arrays have this name", culprit=name, remedy="Use a name of its own for each.")
        for name, count in Counter(names).items()
        if count > 1
    ]
    if errors:
        raise all_of(errors)
    blocks: list[NDArray[np.float32]] = []
    recordings: list[Recording] = []
    skipped: list[Skipped] = []
    offset = 0
    for name, samples, rate in sorted(checked, key=lambda each: each[0]):
        scaled = samples if full_scale == 1 else samples / np.float32(full_scale)
        resampled = scaled if rate == sample_rate else _resampled(scaled, rate, sample_rate)
        try:
            level = _level_of(scaled, resampled, sample_rate)
        except UnusableError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        digest = hashlib.blake2b(samples.data, digest_size=16).hexdigest()
        length, channels = resampled.shape
        recordings.append(
            Recording(
                name,
                channels,
                length,
                offset=offset,
                digest=digest,
                lowest=level.lowest,
                highest=level.highest,
            )
        )
        blocks.append(resampled.reshape(-1))
        offset += resampled.size
    if not recordings:
        reasons = f":\n{describe(skipped)}" if skipped else ": none were given"
        raise CorpusError(f"no array here can be used{reasons}", culprit="corpus", remedy=_GIVE)
    flat = np.concatenate(blocks)
    train, heldout = split_recordings(recordings, heldout_fraction)
    return Corpus(
        folder=ARRAYS,
        sample_rate=sample_rate,
        train=Split(train, sample_rate, flat),
        heldout=Split(heldout, sample_rate, flat),
        skipped=tuple(skipped),
        remarks=remarks_on(recordings, sample_rate),
    )


def _listed(arrays: object) -> list[object]:
    if not isinstance(arrays, Iterable) or isinstance(arrays, np.ndarray | Tensor):
        raise InputError(f"expected a list of arrays, got {_kind(arrays)}", culprit="corpus", remedy=_GIVE)
    return list(arrays)


def _check(number: int, given: object) -> tuple[str, NDArray[np.float32], int]:
    """Return the name, the float32 samples `[N, C]` and the sample rate of an entry, after checking it."""
    culprit = f"corpus, array {number}"
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) != 3:
        problem = f"expected (name, waveform, sample_rate), got {_kind(given)}"
        raise InputError(problem, culprit=culprit, remedy=_GIVE)
    name, waveform, rate = given
    if not isinstance(name, str) or not name:
        problem = f"expected a name, got {shown(name)}"
        raise InputError(problem, culprit=culprit, remedy=_GIVE)
    return name, as_samples(waveform, culprit=name), as_rate(rate, culprit=name)


def as_samples(waveform: object, *, culprit: str) -> NDArray[np.float32]:
    """Return a waveform, an array of floats `[N]` or `[C, N]`, as contiguous float32 samples `[N, C]`.

    Raises:
        InputError: the waveform has another shape or another type.
    """
    try:
        if isinstance(waveform, Tensor):
            waveform = waveform.detach().cpu()
            waveform = waveform.float() if waveform.is_floating_point() else waveform
            waveform = waveform.numpy()
        array = np.asarray(waveform)
    except (ValueError, TypeError, NotImplementedError) as error:  # the latter two of sparse and meta tensors
        problem = f"expected an array, got {_kind(waveform)}: {error}"
        raise InputError(problem, culprit=culprit, remedy=_GIVE_FLOATS) from error
    if array.dtype.kind not in "fiub":
        problem = f"expected floats, 1 being full scale, got {_kind(waveform)} of {array.dtype}"
        raise InputError(problem, culprit=culprit, remedy=_GIVE_FLOATS)
    if array.dtype.kind != "f":
        raise InputError(
            f"expected floats, 1 being full scale, got {array.dtype}",
            culprit=culprit,
            remedy="Divide integers by their full scale: waveform / 32768 for 16 bits.",
        )
    channels = np.atleast_2d(array)
    if channels.ndim != 2 or not channels.size:
        problem = f"expected the shape [N] or [C, N], N > 0, got {list(array.shape)}"
        raise InputError(problem, culprit=culprit, remedy=_GIVE_FLOATS)
    if len(channels) > max(channels.shape[1], _MOST_CHANNELS):
        raise InputError(
            f"expected the shape [C, N], got {list(array.shape)}: more channels than samples",
            culprit=culprit,
            remedy="Transpose it: waveform.T. soundfile.read, for one, gives [N, C].",
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        return np.ascontiguousarray(channels.T, dtype=np.float32)


def as_rate(rate: Any, *, culprit: str) -> int:  # noqa: ANN401  # whatever the user gave
    """Return a sample rate in Hz as an int.

    Raises:
        InputError: the rate is not a whole number within 1000 Hz..100 MHz.
    """
    try:
        whole = int(rate)
        fits = whole == rate and LOWEST_RATE <= whole <= _HIGHEST_RATE and not isinstance(rate, bool)
    except (TypeError, ValueError, OverflowError):
        whole, fits = 0, False
    if not fits:
        raise InputError(
            f"expected a sample rate in Hz, {LOWEST_RATE} to {_HIGHEST_RATE}, got {shown(rate)}",
            culprit=culprit,
            remedy="Pass it as an integer, 44100 for example.",
        )
    return whole


def _resampled(samples: NDArray[np.float32], rate: int, sample_rate: int) -> NDArray[np.float32]:
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, sample_rate, quality="VHQ")
    return resampled


def _level_of(samples: NDArray[np.float32], resampled: NDArray[np.float32], sample_rate: int) -> Level:
    """Return the level of samples.

    Raises:
        UnusableError: they cannot be used, for the same reasons as in `decode`.
    """
    level = Level()
    level.see(samples)
    level.require_usable()
    if not len(resampled):
        raise UnusableError(f"is shorter than one sample at {sample_rate} Hz")
    return level


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
