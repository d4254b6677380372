"""Bad audio: each generated file is used as a whole, or skipped with a reason.

Run: python benchmarks/bad_audio.py [--seed N] [--cases N] [--list]

Whole recordings in all formats that libsndfile writes are changed: cut, joined, overwritten, lengthened,
given other sizes in their headers, and values that nobody records. Each file is decoded in another process,
within a time limit. Files of the checked formats that lost bytes or hold more must not be used. At the end,
all files together are a corpus, and each must be used or listed.
"""

import argparse
import io
import multiprocessing
import re
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from distill.audio.corpus import open_corpus
from distill.audio.corpus.decoding import UnusableError, decode

RATE = 16_000
LIMIT = 20.0
"""Seconds for one file."""

CHECKED = {
    "pcm.wav": ("WAV", "PCM_16"), "pcm24.wav": ("WAV", "PCM_24"), "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"), "ulaw.wav": ("WAV", "ULAW"), "ima.wav": ("WAV", "IMA_ADPCM"),
    "ms.wav": ("WAV", "MS_ADPCM"), "gsm.wav": ("WAV", "GSM610"), "ext.wav": ("WAVEX", "PCM_16"),
    "big.rf64": ("RF64", "PCM_16"), "pcm.aiff": ("AIFF", "PCM_16"), "float.aifc": ("AIFF", "FLOAT"),
    "pcm.svx": ("SVX", "PCM_16"), "pcm.w64": ("W64", "PCM_16"), "pcm.caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"), "pcm.au": ("AU", "PCM_16"), "pcm.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"), "opus.opus": ("OGG", "OPUS"), "flac.ogg": ("OGG", "FLAC"),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III"),
}  # fmt: skip
"""Formats whose length is checked, by the end of a file's name."""

UNCHECKED = {
    "pcm.voc": ("VOC", "PCM_16"), "pcm.nist": ("NIST", "PCM_16"), "pcm.paf": ("PAF", "PCM_16"),
    "pcm.ircam": ("IRCAM", "PCM_16"), "pcm.mat": ("MAT5", "PCM_16"), "pcm.pvf": ("PVF", "PCM_16"),
    "pcm.avr": ("AVR", "PCM_16"), "pcm.xi": ("XI", "DPCM_16"), "pcm.mpc2k": ("MPC2K", "PCM_16"),
    "pcm.htk": ("HTK", "PCM_16"), "pcm.wve": ("WVE", "ALAW"),
}  # fmt: skip

Case = tuple[str, bytes, bool]
"""A name, the content, and whether the file may be used."""


def encoded(container: str, coding: str, samples: np.ndarray, rate: int = RATE) -> bytes | None:
    """Return a file of samples, or None if libsndfile does not write the format."""
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, rate, format=container, subtype=coding)
    except (soundfile.SoundFileError, ValueError):
        return None
    return file.getvalue()


def changed(
    name: str, data: bytes, other: bytes, random: np.random.Generator, *, checked: bool
) -> Iterator[Case]:
    """Yield changes of a whole file. Only what adds or removes bytes can be noticed by lengths."""
    middle = len(data) // 2
    for size in (1, 2, 9, middle, len(data) - 20, *random.integers(1, len(data) - 1, 4).tolist()):
        yield f"cut by {size}, {name}", data[:-size], not checked
    yield f"joined, {name}", data + data, not checked
    yield f"joined with another rate, {name}", data + other, not checked
    yield f"random bytes after, {name}", data + random.bytes(5000), not checked
    yield (
        f"random bytes in the middle, {name}",
        data[:middle] + random.bytes(8000) + data[middle:],
        not checked,
    )
    yield f"zeros in the middle, {name}", data[:middle] + bytes(8000) + data[middle:], not checked
    yield f"without its middle, {name}", data[: middle // 2] + data[middle:], not checked
    yield f"without its beginning, {name}", data[50:], True
    yield f"text, {name}", b"Dear diary, this is no sound.\n" * 50, False
    yield f"nothing, {name}", b"", False
    yield f"zeros, {name}", bytes(5000), True
    yield f"random, {name}", random.bytes(5000), True
    for number in range(4):
        damaged = bytearray(data)
        for place in random.integers(0, min(64, len(data)), 3):
            damaged[place] = random.integers(256)
        yield f"header damaged {number}, {name}", bytes(damaged), True
    for number in range(3):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 20):
            damaged[place] = random.integers(256)
        yield f"bytes damaged {number}, {name}", bytes(damaged), True


def sized(data: bytes) -> Iterator[Case]:
    """Yield a WAV file with other numbers in its header."""
    for at, form, numbers in (
        (4, "<I", (0, 1, 2**31, 2**32 - 1)), (16, "<I", (0, 1, 15, 17, 2**31, 2**32 - 1)),
        (22, "<H", (0, 255, 1025, 65_535)), (24, "<I", (0, 1, 999, 2**31 - 1, 2**32 - 1)),
        (32, "<H", (0, 1, 3, 65_535)), (34, "<H", (0, 1, 7, 33, 65_535)),
        (40, "<I", (1, 3, 2**31, 2**32 - 2)),
    ):  # fmt: skip
        for number in numbers:
            yield (
                f"{number} at {at}.wav",
                data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :],
                True,
            )


def valued(noise: np.ndarray) -> Iterator[Case]:
    """Yield recordings with values that nobody records, and of sizes that few have."""
    for value in (np.nan, np.inf, -np.inf, 1e25, -1e30, 3e38, 26_275.0, 101.0):
        for place in (0, len(noise) // 2, len(noise) - 1):
            sound = noise.copy()
            sound[place] = value
            yield f"one {value} at {place}.wav", encoded("WAV", "FLOAT", sound) or b"", False
        yield f"double {value}.wav", encoded("WAV", "DOUBLE", np.append(noise, value)) or b"", False
    for scale in (1000, 32_768, 2.0**23, 2.0**31, 1e30):
        yield f"scaled by {scale}.wav", encoded("WAV", "FLOAT", scale * noise) or b"", False
    for scale in (1e-8, 1e-30, 1e-42, 4.0, 99.0):
        yield f"level {scale}.wav", encoded("WAV", "FLOAT", scale * noise / abs(noise).max()) or b"", True
    for samples in (0, 1, 2, 63):
        for rate in (1, 999, 1000, 192_000, 655_350):
            yield (
                f"{samples} samples at {rate}.wav",
                encoded("WAV", "PCM_16", noise[:samples], rate) or b"",
                True,
            )
    for channels in (3, 8, 9, 255, 1024):
        sound = np.repeat(noise[:100, None], channels, axis=1)
        yield f"{channels} channels.wav", encoded("WAV", "PCM_16", sound) or b"", True
    yield "silence.wav", encoded("WAV", "PCM_16", 0 * noise) or b"", False
    yield "constant.wav", encoded("WAV", "PCM_16", 0 * noise + 0.25) or b"", True


def cases(random: np.random.Generator) -> Iterator[Case]:
    """Yield all cases."""
    noise = random.uniform(-0.5, 0.5, RATE)
    for formats, checked in ((CHECKED, True), (UNCHECKED, False)):
        for name, (container, coding) in formats.items():
            data = encoded(container, coding, noise)
            if data is None:
                continue
            yield f"whole, {name}", data, True
            other = encoded(container, coding, noise, 8000) or data
            yield from changed(name, data, other, random, checked=checked)
            # Other formats under this name: what counts is the content.
            yield f"wav in disguise, {name}", encoded("WAV", "PCM_16", noise) or b"", True
    yield from sized(encoded("WAV", "PCM_16", noise) or b"")
    yield from valued(noise)


def outcome(path: Path) -> str:
    """Return what becomes of a file: "used", "noted", or the reason why not; "TRACEBACK" for other errors."""
    try:
        note = decode(path, RATE, lambda _: None).note
    except UnusableError as error:
        return str(error)
    except BaseException as error:  # noqa: BLE001  # what is looked for
        return f"TRACEBACK {type(error).__name__}: {error}"
    return "noted" if note else "used"


def decoded(folder: Path, names: list[str]) -> dict[str, str]:
    """Decode the files in another process, which is replaced when a file kills it or takes too long."""
    outcomes: dict[str, str] = {}
    pool = multiprocessing.get_context("fork").Pool(1)
    for name in names:
        try:
            outcomes[name] = pool.apply_async(outcome, (folder / name,)).get(LIMIT)
        except multiprocessing.TimeoutError:
            outcomes[name] = "HANG or crash"
            pool.terminate()
            pool = multiprocessing.get_context("fork").Pool(1)
    pool.terminate()
    return outcomes


def main() -> None:
    """Generate the files, decode them, and print what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10_000, help="at most so many")
    parser.add_argument("--list", action="store_true", help="print each file with its outcome")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "sounds")
        folder.mkdir()
        wanted: dict[str, bool] = {}
        for name, data, may_be_used in cases(np.random.default_rng(options.seed)):
            if len(wanted) < options.cases:
                (folder / name).write_bytes(data)
                wanted[name] = may_be_used
        outcomes = decoded(folder, [*wanted])
        corpus = open_corpus(folder, sample_rate=RATE, cache=Path(place, "cache"), heldout_fraction=0.0)
        used = {recording.name for recording in corpus.train.recordings}
        listed = {each.path: each.reason for each in corpus.skipped}
    if options.list:
        for name, each in outcomes.items():
            print(f"{name}: {each}")
    failures = [f"{name}: {each}" for name, each in outcomes.items() if re.match("TRACEBACK|HANG", each)]
    silent = [name for name, each in outcomes.items() if each == "used" and not wanted[name]]
    unlisted = [name for name in wanted if (name in used) == (name in listed)]
    differing = [name for name in wanted if (outcomes[name] in {"used", "noted"}) != (name in used)]
    lost = [name for name in wanted if name.startswith("whole") and name not in used]
    seconds = time.monotonic() - began
    print(f"{len(wanted)} files, {len(used)} used, {len(listed)} listed with a reason, {seconds:.0f} s")
    kinds = Counter(re.sub(r"\d[\d,.]*(e[+-]\d+)?", "N", reason) for reason in listed.values())
    for reason, count in kinds.most_common():
        print(f"{count:6} {reason}")
    for what, names in (
        ("ended in a traceback, a hang or a crash", failures),
        ("used without a note though not whole", silent),
        ("neither used nor listed", unlisted), ("other in a corpus than alone", differing),
        ("whole, and not used", lost),
    ):  # fmt: skip
        print(f"{len(names)} {what}{':' * bool(names)} {'; '.join(names[:20])}".rstrip())


if __name__ == "__main__":
    main()
