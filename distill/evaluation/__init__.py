"""Evaluation: measures of how close reconstructions are to recordings, and baselines for comparison.

`docs/metrics.md` defines each measure, its range, and when it is misleading.
"""

from distill.evaluation.baselines import mean_spectrum_baseline, silence
from distill.evaluation.contenders import Measure, Reconstruct, evaluate, evaluate_all, term_values
from distill.evaluation.frechet import FrechetDistance, frechet_distance
from distill.evaluation.hearing import log_mel, mel_distance, texture, tonal_peaks, tones_kept
from distill.evaluation.listeners import LISTENERS, Listener, Visqol, Zimtohrli, installed_listeners
from distill.evaluation.ratios import level_difference, si_sdr, signal_to_noise
from distill.evaluation.results import Evaluation, Metrics, Result
from distill.evaluation.speech import SPEECH, Pesq, Stoi
from distill.spectral.metrics import is_silent, log_spectral_distance, multi_resolution_stft

__all__ = [
    "LISTENERS",
    "SPEECH",
    "Evaluation",
    "FrechetDistance",
    "Listener",
    "Measure",
    "Metrics",
    "Pesq",
    "Reconstruct",
    "Result",
    "Stoi",
    "Visqol",
    "Zimtohrli",
    "evaluate",
    "evaluate_all",
    "frechet_distance",
    "installed_listeners",
    "is_silent",
    "level_difference",
    "log_mel",
    "log_spectral_distance",
    "mean_spectrum_baseline",
    "mel_distance",
    "multi_resolution_stft",
    "si_sdr",
    "signal_to_noise",
    "silence",
    "term_values",
    "texture",
    "tonal_peaks",
    "tones_kept",
]
