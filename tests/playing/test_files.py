"""Tests of the sounds of the page as files."""

import base64
import io
import json

import pytest
import soundfile
import torch

from distill.playing.files import to_play


def test_a_sound_to_play_is_a_wav_file_with_its_outline():
    """The player gets 16 bits within full scale, its outline, its title, and when it was asked for."""
    waveform = torch.zeros(2, 8000)
    waveform[0, 4000], waveform[1, 6000] = -2.0, 1.0
    played = json.loads(to_play(waveform, 8000, title="<b>", turn=2.5))
    assert (played["title"], played["turn"]) == ("<b>", 2.5)
    kind, data = played["sound"].split(",")
    assert kind == "data:audio/wav;base64"
    with soundfile.SoundFile(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("WAV", "PCM_16", 8000, 2)
        samples = file.read()
    assert samples[4000] == pytest.approx([-1, 0], abs=1e-4)
    assert samples[6000] == pytest.approx([0, 0.5], abs=1e-4)
    peaks = played["peaks"]
    assert len(peaks) == 400
    assert (peaks[200], peaks[300], sum(peaks)) == (1.0, 0.5, 1.5)
    short = json.loads(to_play(waveform[:, :30], 8000, title="", turn=3))
    assert len(short["peaks"]) == 30
