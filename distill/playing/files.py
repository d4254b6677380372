"""The sound files of the page, to play and to download."""

import secrets
from pathlib import Path

from torch import Tensor

from distill.audio.soundfiles import write_audio
from distill.playing.instrument import Instrument
from distill.playing.sound import Sound
from distill.storage.files import file_name


def write_files(folder: Path, instrument: Instrument, sound: Sound, waveform: Tensor) -> tuple[Path, Path]:
    """Write a sound `[C, N]` as WAV and as FLAC to a new folder below `folder`, and return their paths.

    The comment of each says what the sound was made with, as `Model.write` does: the run, the checksum of its
    model, and the sound as `Sound.to_tree` returns it.
    """
    place = folder / secrets.token_hex(8)
    place.mkdir()
    stem = f"{instrument.run.folder.resolve().name} {sound}"
    wav, flac = (place / file_name(stem, suffix, place) for suffix in (".wav", ".flac"))
    made_with = {
        "run": instrument.run.folder.resolve().name,
        "checksum": instrument.checksum,
        **sound.to_tree(),
    }
    for path in (wav, flac):
        write_audio(path, waveform, instrument.model.sample_rate, limit=True, made_with=made_with)
    return wav, flac
