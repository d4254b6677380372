"""Encoding a recording as FLAC: its pieces, their names, and what FLAC does not hold."""

import io

import numpy as np
import pytest
import soundfile

from distill.audio.corpus.decoding import UnusableError, decode
from distill.audio.corpus.encoding import encode
from distill.audio.corpus.scanning import find_audio

RATE = 1000


def encoded(path, samples, subtype="PCM_16"):
    """Write samples to a file at 1 kHz, and encode it; what was encoded, and each piece decoded, `[N, C]`."""
    soundfile.write(path, samples, RATE, subtype=subtype)
    made = encode(find_audio(path).candidates[0], RATE)
    decoded = [soundfile.read(io.BytesIO(piece.flac), always_2d=True) for piece in made.pieces]
    assert {rate for _, rate in decoded} == {RATE}
    return made, [samples for samples, _ in decoded]


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        (0.001, {"a.wav": 0.001}),
        (59.999, {"a.wav": 59.999}),
        (60, {"a.wav@0s": 30, "a.wav@30s": 30}),
        (149.5, {"a.wav@0s": 30, "a.wav@30s": 30, "a.wav@60s": 30, "a.wav@90s": 59.5}),
    ],
)
def test_pieces_of_half_a_minute_to_a_minute(tmp_path, seconds, pieces):
    """Pieces have names that say where they begin, unless there is one, and join to the recording exactly."""
    noise = np.random.default_rng(0).integers(-9999, 9999, (round(seconds * RATE), 2)).astype(np.int16)
    made, decoded = encoded(tmp_path / "a.wav", noise)
    assert {piece.name: piece.samples / RATE for piece in made.pieces} == pieces
    assert {piece.channels for piece in made.pieces} == {2}
    assert np.array_equal(np.concatenate(decoded) * 2**15, noise)
    assert made.digest == decode(tmp_path / "a.wav", RATE, lambda _: None).digest


@pytest.mark.parametrize(
    ("peak", "exponent"), [(1e-8, -26), (0.0019, -9), (2**-7, 0), (0.5, 0), (1.0, 0), (1.01, 1), (3.0, 2)]
)
def test_levels_beyond_flac(tmp_path, peak, exponent):
    """What exceeds full scale, or is too quiet for 24 bits, is divided by a power of two, which is exact."""
    noise = np.random.default_rng(0).uniform(-1, 1, (800, 1)).astype(np.float32)
    noise *= np.float32(peak) / np.abs(noise).max()
    made, (decoded,) = encoded(tmp_path / "a.wav", noise, "FLOAT")
    assert [piece.exponent for piece in made.pieces] == [exponent]
    np.testing.assert_allclose(decoded * 2.0**exponent, noise, atol=2.0 ** (exponent - 22), rtol=0)


def test_more_channels_than_flac_has(tmp_path):
    """Eight channels are encoded, and nine are refused."""
    made, _ = encoded(tmp_path / "eight.wav", np.full((10, 8), 0.1))
    assert [piece.channels for piece in made.pieces] == [8]
    with pytest.raises(UnusableError, match=r"^has 9 channels, and a FLAC file has at most 8$"):
        encoded(tmp_path / "nine.wav", np.full((10, 9), 0.1))
