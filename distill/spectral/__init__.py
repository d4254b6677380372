"""Spectra: transforms of waveforms, the representation, and distances between spectra."""
