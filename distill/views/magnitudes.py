"""The views of the channels of the spectrogram, and of the STFTs of the waveform.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples.
"""

from attrs import Attribute, Factory, field, frozen, validators
from torch import Tensor

from distill.config.bounds import within
from distill.spectral import transforms
from distill.views.signal import Signal, Spectrogram, View, Waveform

_MOST_OVERLAP = 256
"""The largest n_fft / hop. More overlap would take memory without measure."""


@frozen
class LogMagnitude(View):
    """Channel 0, `log(1 + amplitude / floor)`: `[B, F, T]`, not negative."""

    def compute(self, signal: Signal) -> Tensor:
        """Return channel 0."""
        return _channels(signal)[0]


@frozen
class Magnitude(View):
    """The amplitude, 1 for a full-scale sine: `[B, F, T]`, not negative."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the amplitude of channel 0."""
        return signal.representation.amplitude(signal.view(LogMagnitude()))


@frozen
class InstantaneousFrequency(View):
    """Channel 1, in units of pi radians per hop, relative to the bin's centre: `[B, F, T]` in [-1, 1)."""

    def compute(self, signal: Signal) -> Tensor:
        """Return channel 1."""
        return _channels(signal)[1]


def _channels(signal: Signal) -> tuple[Tensor, Tensor]:
    """Return both channels from one `unbind`, so that their gradients are stacked without adding zeros."""
    log_magnitude, frequency = signal.view(Spectrogram()).unbind(1)
    signal.prepare(LogMagnitude(), lambda: log_magnitude)
    signal.prepare(InstantaneousFrequency(), lambda: frequency)
    return log_magnitude, frequency


@frozen
class FlatMagnitude(View):
    """Channel 0 flattened to a signal, bin by bin: `[B, F * T]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return channel 0, flattened."""
        return signal.view(LogMagnitude()).flatten(1)


@frozen(kw_only=True)
class _Transform(View):
    n_fft: int = field(validator=within(2, 131_072), metadata={"help": "samples in a Fourier transform"})
    hop: int = field(validator=within(1, 131_072), metadata={"help": "samples between frames"})
    # Set here, so that views with and without an explicit window are equal and share a tensor.
    win_length: int = field(
        default=Factory(lambda self: self.n_fft, takes_self=True),
        validator=validators.ge(1),
        metadata={"help": "samples in the Hann window; n_fft unless set"},
    )

    @hop.validator
    def _at_least_a_share_of_n_fft(self, attribute: "Attribute[int]", hop: int) -> None:
        if 0 < _MOST_OVERLAP * hop < self.n_fft:
            raise ValueError(
                f"'{attribute.name}' must be at least 1 / {_MOST_OVERLAP} of n_fft {self.n_fft}: {hop}"
            )

    @win_length.validator
    def _at_most_n_fft(self, attribute: "Attribute[int]", win_length: int) -> None:
        if win_length > self.n_fft:
            raise ValueError(f"'{attribute.name}' must be at most n_fft {self.n_fft}: {win_length}")

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Return `(n_fft, hop, win_length)`."""
        return self.n_fft, self.hop, self.win_length


@frozen(kw_only=True)
class Stft(_Transform):
    """The short-time Fourier transform of the waveform: complex `[B, n_fft // 2 + 1, N // hop + 1]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the transform of the waveform."""
        return transforms.stft(signal.view(Waveform()), *self.resolution)


@frozen(kw_only=True)
class StftMagnitude(_Transform):
    """The magnitude of `Stft`, at least 1e-4 as in auraloss: `[B, n_fft // 2 + 1, N // hop + 1]`."""

    @property
    def stft(self) -> Stft:
        """The complex transform, as a view that other terms can share."""
        return Stft(n_fft=self.n_fft, hop=self.hop, win_length=self.win_length)

    def compute(self, signal: Signal) -> Tensor:
        """Return the magnitude. The transform is computed once, whichever of the two views is used first."""
        if signal.holds(self.stft):
            return transforms.floored_magnitude(signal.view(self.stft))
        magnitude, transform = transforms.stft_magnitude_first(signal.view(Waveform()), *self.resolution)
        signal.prepare(self.stft, transform)
        return magnitude


@frozen(kw_only=True)
class FlatMagnitudeStft(_Transform):
    """The STFT magnitude of `FlatMagnitude`, at least 1e-4: `[B, n_fft // 2 + 1, F * T // hop + 1]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the STFT magnitude of the flattened channel 0."""
        return transforms.stft_magnitude(signal.view(FlatMagnitude()), *self.resolution)
