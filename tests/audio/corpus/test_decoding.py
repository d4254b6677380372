"""Decoding to float32 at one sample rate, and the reasons for which a recording is unusable."""

import re
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from distill.audio.corpus import decoding
from distill.audio.corpus.decoding import UnusableError, decode, decode_whole


def decoded(path, sample_rate):
    """Decode a file whole: the samples `[N, C]` and what `decode` returns."""
    blocks = []
    result = decode(path, sample_rate, blocks.append)
    samples = np.concatenate(blocks)
    assert samples.dtype == np.float32
    assert samples.shape == (result.samples, result.channels)
    return samples, result


def reason(path, sample_rate=44100):
    """Return the reason for which a file is unusable."""
    with pytest.raises(UnusableError) as error:
        decode(path, sample_rate, lambda _: None)
    return str(error.value)


def tone(frequency, sample_rate, seconds=0.5, amplitude=0.5, channels=1):
    """Make a sine whose channel `c` is `1 / (c + 1)` as loud as the first."""
    sine = amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)
    return sine[:, None] / np.arange(1, channels + 1)


def level(samples, frequency, sample_rate):
    """Measure the amplitude of a sine by projecting the middle of each channel on it."""
    middle = samples[len(samples) // 4 : -(len(samples) // 4)].astype(float)
    window = np.hanning(len(middle))
    turning = np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / sample_rate)
    return 2 * np.abs((window * turning) @ middle) / window.sum()


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 1e-6),
        ("wav", "DOUBLE", 1e-6),
        ("wav", "IMA_ADPCM", 0.01),
        ("flac", "PCM_16", 1e-4),
        ("flac", "PCM_24", 1e-6),
        ("ogg", "VORBIS", 0.01),
        ("aiff", "PCM_16", 1e-4),
        ("caf", "ALAC_24", 1e-6),
        ("w64", "PCM_16", 1e-4),
        ("au", "PCM_16", 1e-4),
        ("mp3", "MPEG_LAYER_III", 0.01),
    ],
)
def test_formats(tmp_path, suffix, subtype, tolerance):
    """A tone written in any format comes back at its frequency, its level and its channels."""
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1000, 44100, channels=2), 44100, subtype=subtype)
    samples, result = decoded(path, 44100)
    assert result.channels == 2
    assert result.samples >= 22050
    assert level(samples, 1000, 44100) == pytest.approx([0.5, 0.25], rel=tolerance)


def test_opus(tmp_path):
    """Opus, which knows 48 kHz only, is resampled like the rest."""
    path = tmp_path / "tone.opus"
    soundfile.write(path, tone(1000, 48000), 48000, format="OGG", subtype="OPUS")
    samples, result = decoded(path, 44100)
    assert result.samples == 22050
    assert level(samples, 1000, 44100) == pytest.approx([0.5], rel=0.02)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("source_rate", [8000, 11025, 32000, 44100, 48000, 96000])
def test_sample_rates(tmp_path, source_rate, channels):
    """From any rate a tone keeps its frequency, its level, its length and its channels."""
    path = tmp_path / "tone.wav"
    soundfile.write(
        path, tone(440, source_rate, seconds=0.4, channels=channels), source_rate, subtype="PCM_24"
    )
    samples, result = decoded(path, 22050)
    assert (result.samples, result.channels) == (8820, channels)
    assert level(samples, 440, 22050) == pytest.approx(0.5 / np.arange(1, channels + 1), rel=1e-4)
    assert level(samples, 660, 22050) == pytest.approx(np.zeros(channels), abs=1e-4)


def test_no_aliasing(tmp_path):
    """A tone above the new Nyquist frequency vanishes instead of being mirrored below it."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(10000, 44100), 44100, subtype="FLOAT")
    samples, _ = decoded(path, 16000)
    assert np.abs(samples[1000:-1000]).max() < 1e-5


def test_lossless_samples_are_exact(tmp_path):
    """16-bit samples are divided by 32768 and nothing else, in the order of frames and channels."""
    path = tmp_path / "steps.wav"
    steps = np.array([[-32768, 1], [32767, -1], [0, 16384]], np.int16)
    soundfile.write(path, steps, 44100)
    samples, _ = decoded(path, 44100)
    np.testing.assert_array_equal(samples, steps / 32768)


def test_loud_floats_are_not_clipped(tmp_path):
    """Float files may go beyond full scale, and keep it."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([2.5, -3.0]), 44100, subtype="FLOAT")
    np.testing.assert_array_equal(decoded(path, 44100)[0], [[2.5], [-3.0]])


@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_leave_no_seams(tmp_path, monkeypatch, channels):
    """A file decoded in many blocks equals the same file resampled at once."""
    monkeypatch.setattr(decoding, "_BLOCK_SAMPLES", 1000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (20011, channels)).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 44100, subtype="FLOAT")
    np.testing.assert_array_equal(decoded(path, 44100)[0], noise)
    expected = soxr.resample(noise, 44100, 48000, quality="VHQ")
    np.testing.assert_allclose(decoded(path, 48000)[0], expected, atol=1e-6)


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """A file of 2.4 MB as floats is decoded within a quarter of that."""
    monkeypatch.setattr(decoding, "_BLOCK_SAMPLES", 2**13)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(600_000, 0.1), 44100)
    tracemalloc.start()
    result = decode(path, 44100, lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.samples == 600_000
    assert peak < 600_000


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_at_its_own_rate(tmp_path, monkeypatch, channels):
    """A file decoded whole keeps its rate and every sample of its blocks in order, even if it is silent."""
    monkeypatch.setattr(decoding, "_BLOCK_SAMPLES", 1000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (20011, channels)).astype(np.float32)
    for name, sound in (("noise.wav", noise), ("silence.wav", 0 * noise)):
        soundfile.write(tmp_path / name, sound, 22050, subtype="FLOAT")
        samples, sample_rate = decode_whole(tmp_path / name)
        np.testing.assert_array_equal(samples, sound)
        assert (samples.dtype, sample_rate) == (np.float32, 22050)


def test_one_sample(tmp_path):
    """A file of one sample is a recording."""
    path = tmp_path / "click.wav"
    soundfile.write(path, np.array([0.5]), 44100)
    np.testing.assert_array_equal(decoded(path, 44100)[0], [[0.5]])


def test_the_digest_follows_the_samples_alone(tmp_path):
    """Copies in another lossless format share a digest at any rate; other samples do not."""
    noise = np.random.default_rng(0).integers(-9999, 9999, 3000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", noise, 44100)
    soundfile.write(tmp_path / "b.flac", noise, 44100)
    noise[-1] += 1
    soundfile.write(tmp_path / "c.wav", noise, 44100)
    digest = decoded(tmp_path / "a.wav", 44100)[1].digest
    assert decoded(tmp_path / "b.flac", 44100)[1].digest == digest
    assert decoded(tmp_path / "a.wav", 16000)[1].digest == digest
    assert decoded(tmp_path / "c.wav", 44100)[1].digest != digest


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize("place", [0, 2500, 4999])
def test_not_finite(tmp_path, bad, sample_rate, place):
    """One sample that is not finite makes the file unusable, resampled or not, wherever it stands."""
    sound = np.full(5000, 0.1)
    sound[place] = bad
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    assert reason(tmp_path / "a.wav", sample_rate) == "contains NaN or infinite samples"
    with pytest.raises(UnusableError, match=r"^contains NaN or infinite samples$"):
        decode_whole(tmp_path / "a.wav")


def test_no_samples_and_silence(tmp_path):
    """A header alone, digital silence, and less than one sample at the new rate are told apart."""
    soundfile.write(tmp_path / "header.wav", np.zeros(0), 44100)
    soundfile.write(tmp_path / "silence.wav", np.zeros((500, 2)), 44100)
    soundfile.write(tmp_path / "short.wav", np.array([0.5]), 96000)
    assert reason(tmp_path / "header.wav") == "holds no samples"
    assert reason(tmp_path / "silence.wav") == "is silent throughout"
    assert reason(tmp_path / "short.wav", 8000) == "is shorter than one sample at 8000 Hz"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "snd", "m4a", "raw"])
def test_no_audio(tmp_path, suffix):
    """Text under an audio name is refused in one way, and so is an empty file."""
    (tmp_path / f"text.{suffix}").write_bytes(b"Dear diary, this is no sound.\n" * 100)
    (tmp_path / f"empty.{suffix}").write_bytes(b"")
    assert reason(tmp_path / f"text.{suffix}") == "is not audio that libsndfile reads"
    assert reason(tmp_path / f"empty.{suffix}") == "is empty"


def test_files_that_cannot_be_read(tmp_path):
    """What the system refuses to open is unusable for the system's reason."""
    assert reason(tmp_path / "gone.wav") == "cannot be read: No such file or directory"


def write_noise(path, frames=40000, **options):
    """Write noise to a file and return its bytes."""
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, frames), 44100, **options)
    return bytearray(path.read_bytes())


def test_damaged_files(tmp_path):
    """A FLAC that is cut off and an Ogg with a hole are damaged."""
    flac = write_noise(tmp_path / "cut.flac")
    (tmp_path / "cut.flac").write_bytes(flac[: len(flac) // 2])
    ogg = write_noise(tmp_path / "hole.ogg", frames=100_000)
    ogg[len(ogg) // 2 : len(ogg) // 2 + 3000] = bytes(3000)
    (tmp_path / "hole.ogg").write_bytes(ogg)
    assert reason(tmp_path / "cut.flac") == "is damaged: flac decoder lost sync"
    assert re.fullmatch(
        r"is damaged: \d+ of its 100000 samples can be decoded", reason(tmp_path / "hole.ogg")
    )


def test_the_value_of_full_scale(tmp_path):
    """Floats are divided by it, integers are not; the digest is of what the file holds."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (900, 1)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", 32768 * noise, 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", noise, 44100, subtype="PCM_16")
    assert reason(tmp_path / "a.wav").endswith(
        "(to divide them for training: corpus.full_scale=32768, or --full-scale of distill shard)"
    )
    for name, tolerance in (("a.wav", 0), ("b.wav", 2**-15)):
        blocks = []
        decode(tmp_path / name, 44100, blocks.append, full_scale=32768)
        np.testing.assert_allclose(np.concatenate(blocks), noise, atol=tolerance)


def test_a_flac_that_was_streamed_is_whole(tmp_path):
    """A FLAC whose header does not say how long it is (36 bits of zero) is read to its end."""
    flac = write_noise(tmp_path / "stream.flac")
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "stream.flac").write_bytes(flac)
    assert decoded(tmp_path / "stream.flac", 44100)[1].samples == 40000
    assert decode_whole(tmp_path / "stream.flac")[0].shape == (40000, 1)


def test_an_mp3_without_a_table_of_contents_is_not_damaged(tmp_path):
    """A variable-rate MP3 without its first frame, the table, is shorter than libsndfile guesses."""
    path = tmp_path / "variable.mp3"
    sound = np.concatenate([np.zeros(88200), np.random.default_rng(0).uniform(-0.5, 0.5, 88200)])
    soundfile.write(path, sound, 44100, bitrate_mode="VARIABLE", compression_level=0.5)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 2) :])
    announced = soundfile.info(path).frames
    frames = decoded(path, 44100)[1].samples
    assert frames < announced
    assert frames == pytest.approx(len(sound), abs=3 * 1152)


def test_a_sample_rate_that_no_recording_has(tmp_path):
    """A header of 1 Hz is not resampled into gigabytes."""
    soundfile.write(tmp_path / "slow.wav", np.full(100, 0.1), 1)
    assert reason(tmp_path / "slow.wav") == "has a sample rate of 1 Hz"
