"""Files of which a decoder would read less than they hold, or that hold less than they promise."""

import io
import re
import struct

import numpy as np
import pytest
import soundfile

from distill.audio.corpus.decoding import UnusableError, decode

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.uniform(-0.5, 0.5, 20_000)
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def content(suffix, rate=48_000):
    """Return the bytes of noise in a format."""
    container, coding = FORMATS[suffix]
    file = io.BytesIO()
    soundfile.write(file, NOISE, rate, format=container, subtype=coding)
    return file.getvalue()


def outcome(path, data):
    """Return the number of frames that are decoded, or the reason why a file is not used."""
    path.write_bytes(data)
    try:
        return decode(path, 48_000, lambda _: None).samples
    except UnusableError as error:
        return str(error)


def told(path):
    """Return what is noted about a file that is used."""
    return decode(path, 48_000, lambda _: None).note


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_byte_counts(tmp_path, suffix):
    """A whole file is used; cut at any place, joined with another, or with bytes in it, it is not."""
    data, path = content(suffix), tmp_path / f"a.{suffix}"
    assert outcome(path, data) >= 15_000  # libsndfile decodes less of an Opus file than was encoded
    middle = len(data) // 2
    for cut in (1, 7, 1000, middle, *RANDOM.integers(1, len(data) - 1, 3).tolist()):
        found = outcome(path, data[:-cut])
        assert isinstance(found, str) or told(path), f"cut by {cut}"
    changed = {
        "joined": data + data,
        "joined with another rate": data + content(suffix, 24_000),
        "bytes after its end": data + RANDOM.bytes(5000),
        "bytes in its middle": data[:middle] + RANDOM.bytes(3001) + data[middle:],
    }
    for name, file in changed.items():
        assert isinstance(outcome(path, file), str), name


@pytest.mark.parametrize(
    ("suffix", "change", "reason"),
    [
        ("wav", lambda data: data[:-9], "is cut short: 39,991 of the 40,000 bytes of its samples are there"),
        ("aiff", lambda data: data[:-9], "is cut short: 39,999 of the 40,008 bytes of its samples are there"),
        ("au", lambda data: data + b"junk" * 9, "holds 36 bytes after its samples, which would not be read"),
        ("wav", lambda data: data + data, "holds 40,044 bytes after its samples, which would not be read"),
        ("mp3", lambda data: data[:-1400], "is cut short: 12 of its 19 frames are there"),
        ("ogg", lambda data: data[:-9], "is cut short: its last page is incomplete"),
    ],
)
def test_reasons(tmp_path, suffix, change, reason):
    """The reason says what is missing, or how much would be lost."""
    assert outcome(tmp_path / f"a.{suffix}", change(content(suffix))) == reason


def test_two_files_joined(tmp_path):
    """The second of two MP3, Ogg or Opus files is not dropped in silence."""
    for suffix in ("mp3", "ogg", "opus"):
        data = content(suffix)
        found = outcome(tmp_path / f"a.{suffix}", data + data)
        assert re.match(rf"holds more than one recording: {len(data):,} bytes of another follow", found)


def test_frames_that_an_mp3_lacks(tmp_path):
    """An MP3 that was cut between two frames has fewer of them than its table says."""
    data = content("mp3")
    starts = [match.start() for match in re.finditer(re.escape(data[:2]), data)]
    found = outcome(tmp_path / "a.mp3", data[: starts[len(starts) // 2]])
    assert re.fullmatch(r"is cut short: \d+ of its \d+ frames are there", found)


def test_pages_that_an_ogg_file_lacks(tmp_path):
    """An Ogg file without its last page, or without one in its middle, is incomplete."""
    soundfile.write(tmp_path / "a.ogg", np.tile(NOISE, 10), 48_000)
    data = (tmp_path / "a.ogg").read_bytes()
    starts = [match.start() for match in re.finditer(b"OggS", data)]
    assert outcome(tmp_path / "a.ogg", data[: starts[-1]]) == "is cut short: its stream does not end"
    found = outcome(tmp_path / "a.ogg", data[: starts[-2]] + data[starts[-1] :])
    assert found == "is damaged: 1 of its pages are missing"


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("zeros", [1, 512, 100_000])
def test_padding_is_no_loss(tmp_path, suffix, zeros):
    """Zeros at the end belong to no recording, however many; each sample is read, and none besides."""
    data = content(suffix)
    whole = outcome(tmp_path / f"a.{suffix}", data)
    padded = outcome(tmp_path / f"b.{suffix}", data + bytes(zeros))
    if suffix == "mp3" and zeros == 100_000:  # a download that was broken off: an MP3 may end anywhere
        assert padded == "holds 100,000 bytes after its last frame, which would not be read"
    else:
        assert padded == whole
        assert isinstance(whole, int)


def test_zeros_of_a_flac_frame_are_no_padding(tmp_path):
    """A checksum may end with them; other bytes after the last frame are none of the recording."""
    path = tmp_path / "a.flac"
    for seed in range(10_000):
        soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 50), 8000)
        if (data := path.read_bytes()).endswith(b"\0"):
            break
    assert outcome(path, data) == outcome(path, data + bytes(9)) == 300
    assert outcome(path, data[:-1]) == "is damaged: flac decoder lost sync"
    assert outcome(path, data + b"other" + bytes(9)) == "is damaged: flac decoder lost sync"


TAG = b"TAG" + bytes(125)
TEXT = b"ID3\4\0\0\0\0\2\1" + bytes(257)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)
LYRICS = b"LYRICSBEGININD0000200000021LYRICS200"


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "tags",
    [TAG, TEXT, APE, LYRICS, TEXT + TAG, APE + TAG, LYRICS + TAG],
    ids=["ID3v1", "ID3v2", "APE", "Lyrics3", "ID3v2 and v1", "APE and ID3v1", "Lyrics3 and ID3v1"],
)
def test_tags_are_no_loss(tmp_path, suffix, tags):
    """Tags that a program appends to a file of any format are left aside, and the samples are the same."""
    data = content(suffix)
    whole = outcome(tmp_path / f"a.{suffix}", data)
    assert outcome(tmp_path / f"a.{suffix}", data + tags) == whole


def test_tags_in_other_places_are_no_loss(tmp_path):
    """Chunks after the samples, and tags before a file, are left aside, but no recording behind them."""
    chunk = b"LIST" + struct.pack("<I", 10) + b"INFOjunk!!"
    wav = content("wav")
    for data in (wav + chunk, wav + chunk + chunk, wav + chunk + TEXT, TEXT + wav, wav + b"\r\n"):
        assert outcome(tmp_path / "a.wav", data) == 20_000
    for suffix in ("mp3", "flac", "ogg", "opus"):
        assert isinstance(outcome(tmp_path / f"a.{suffix}", TEXT + content(suffix)), int)
        assert isinstance(outcome(tmp_path / f"a.{suffix}", TEXT + content(suffix) * 2), str)
    assert isinstance(outcome(tmp_path / "a.wav", wav + TEXT + wav), str)


def test_an_mp3_that_ends_within_a_frame(tmp_path):
    """A recording of a broadcast, with or without a table of contents and tags, is used with a note."""
    file = io.BytesIO()
    soundfile.write(file, NOISE, 48_000, format="MP3", bitrate_mode="CONSTANT")
    data, path = file.getvalue(), tmp_path / "a.mp3"
    bare = data[data.index(data[:2], 2) :]
    for cut in (data[:-9], bare[:-9], bare[100:-50], bare[:-50] + TAG):
        assert isinstance(outcome(path, cut), int)
        assert told(path) == "ends within a frame, of which 24 ms are not decoded"
    outcome(path, data)
    assert not told(path)
    for end in range(1, 64):  # also within a header or the table
        outcome(path, data[:end])


def test_an_mp3_of_a_variable_rate_without_a_table(tmp_path):
    """All of it is decoded, although its length cannot be estimated from its first frame."""
    loud = np.concatenate([np.zeros(48_000), RANDOM.uniform(-0.5, 0.5, 96_000)])
    file = io.BytesIO()
    soundfile.write(file, loud, 48_000, format="MP3", bitrate_mode="VARIABLE")
    data = file.getvalue()
    bare = data[data.index(data[:2], 2) :]
    assert outcome(tmp_path / "a.mp3", bare) >= len(loud)


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**32 - 37, 2**31 - 2**12, 2**31 - 2**12 - 36, 2**31])
@pytest.mark.parametrize("whole", [0, 36, 40_036, 2**31 - 2**12, 2**32 - 1])
def test_a_wav_that_was_streamed(tmp_path, size, whole):
    """A size that a program could not know when it wrote the header is that of the rest of the file."""
    data = bytearray(content("wav"))
    data[4:8], data[40:44] = struct.pack("<I", whole), struct.pack("<I", size)
    assert outcome(tmp_path / "a.wav", data) == 20_000


def test_other_files_that_were_streamed(tmp_path):
    """In CAF, -1 stands for an unknown size; a WAV that holds no samples has none, whatever follows."""
    data = bytearray(content("caf"))
    place = data.index(b"data") + 4
    data[place : place + 8] = b"\xff" * 8
    assert outcome(tmp_path / "a.caf", data) == 20_000
    empty = content("wav")[:40] + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert outcome(tmp_path / "a.wav", empty) == "holds no samples"


def test_a_wav_whose_sizes_wrapped(tmp_path):
    """A WAV above 4 GB says that it is short, since its sizes have 32 bits."""
    path = tmp_path / "a.wav"
    path.write_bytes(content("wav"))
    with path.open("r+b") as file:
        file.truncate(44 + 40_000 + 2**32)  # sparse: takes no room
    with pytest.raises(UnusableError) as error:
        decode(path, 48_000, lambda _: None)
    assert str(error.value) == (
        "is larger than 4 GB, which its header cannot hold: 4,294,967,296 bytes would not be read"
    )


def test_mp3_in_a_wav_file(tmp_path):
    """An MP3 in a WAV file is used, although libsndfile estimates its length; a hole in it is found."""
    stream = content("mp3")
    fact = struct.pack("<HHIIHH", 0x55, 1, 48_000, 16_000, 1, 0) + struct.pack(
        "<HHIHHH", 12, 1, 2, 1152, 1, 0
    )

    def wrapped(stream):
        chunks = b"WAVEfmt " + struct.pack("<I", len(fact)) + fact + b"data" + struct.pack("<I", len(stream))
        return b"RIFF" + struct.pack("<I", len(chunks) + len(stream)) + chunks + stream

    path = tmp_path / "a.wav"
    assert outcome(path, wrapped(stream)) >= 15_000
    assert isinstance(outcome(path, wrapped(stream)[:-9]), str)
    half = len(stream) // 2
    assert isinstance(outcome(path, wrapped(stream[:half] + bytes(range(256)) * 30 + stream[half:])), str)
