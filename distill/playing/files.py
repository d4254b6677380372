"""The sounds of the page as files: to play and to download."""

import base64
import io
import json
import secrets
from pathlib import Path

import soundfile
from torch import Tensor
from torch.nn import functional as F

from distill.audio.soundfiles import write_audio
from distill.playing.instrument import Instrument
from distill.playing.sound import Sound
from distill.storage.files import file_name

_PEAKS = 400
"""The points of the picture of a waveform."""


def to_play(waveform: Tensor, sample_rate: int, *, title: str, turn: float) -> str:
    """Return what the player of the page needs to play a sound `[C, N]`, as JSON.

    That is `sound`, a WAV file of 16 bits in a URL, so that it comes with the answer and needs no other
    request; `peaks`, the outline of its waveform; its `title`; and `turn`, by which the player knows a sound
    that is overtaken, and a sound that is asked for again. A sound whose peak exceeds full scale is scaled
    to it.
    """
    peak = max(1.0, float(waveform.abs().amax()))
    file = io.BytesIO()
    soundfile.write(file, (waveform / peak).T.numpy(), sample_rate, "PCM_16", format="WAV")
    peaks = F.adaptive_max_pool1d((waveform / peak).abs().amax(0)[None], min(_PEAKS, waveform.shape[-1]))
    return json.dumps(
        {
            "sound": f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}",
            "peaks": [round(value, 3) for value in peaks[0].tolist()],
            "title": title,
            "turn": turn,
        }
    )


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
