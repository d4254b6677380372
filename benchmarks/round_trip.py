"""Accuracy of the representation: SNR of waveform -> spectrogram -> waveform for every file in folders.

Run: python benchmarks/round_trip.py FOLDER...
"""

import statistics
import sys
from pathlib import Path

from distill import MagnitudeIF
from distill.audio.corpus.scanning import find_audio
from distill.audio.soundfiles import read_audio


def main() -> None:
    """Print the worst and the median SNR."""
    ratios = {}
    for folder in sys.argv[1:]:
        for found in find_audio(Path(folder)).candidates:
            waveform, rate = read_audio(found.path)
            representation = MagnitudeIF(rate, n_fft=2048, hop=512)
            back = representation.inverse(representation(waveform), waveform.shape[-1])
            wanted, error = waveform.double(), back.double() - waveform.double()
            ratios[found.name] = float(10 * (wanted.square().sum() / error.square().sum()).log10())
    worst = min(ratios, key=lambda name: ratios[name])
    median = statistics.median(ratios.values())
    print(f"{len(ratios)} files, SNR in dB: worst {ratios[worst]:.0f} ({worst}), median {median:.0f}")


if __name__ == "__main__":
    main()
