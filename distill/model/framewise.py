"""Phase reconstruction frame by frame, with state, for streaming synthesis.

Shapes: `B` batch, `F` bins, `S` frames of one call, `N` samples.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.spectral.representation import MagnitudeIF
from distill.spectral.transforms import analyse

_ITERATIONS = 4

_LEAST_OVERLAP = 0.4
"""The lower bound of the sum of squared windows in a division; the sum is 1.5 where four frames overlap.
Samples under the very ends of windows are unreliable. On recordings, 0.01 and 1.0 measured worse."""

_SILENCE = 1e-12
"""The amplitude below which a phase counts as unknown; a full-scale sine has 1."""


class FramewisePhases:
    """Convert log-magnitudes to a waveform, frame by frame.

    The phases of a new frame are initialized from the signal that earlier frames left at its position. Then
    `iterations` Griffin-Lim iterations run over the open frames, and the oldest one becomes final. The
    latency is `lookahead` frames: those that overlap a frame after it (real-time iterative spectrogram
    inversion with look-ahead, RTISI-LA; Zhu, Beauregard & Wyse, 2007).

    The result does not depend on how the frames are divided into calls.
    """

    def __init__(
        self, representation: MagnitudeIF, rows: int, device: torch.device, iterations: int = _ITERATIONS
    ) -> None:
        self.representation, self.iterations = representation, iterations
        self.n_fft, self.hop = representation.n_fft, representation.hop
        self.lookahead = -(-self.n_fft // self.hop) - 1
        self.window = torch.hann_window(self.n_fft, device=device)
        # Unknown phases, as at the beginning, are random.
        drawn = torch.rand(representation.bins, generator=torch.Generator().manual_seed(0))
        angle = 2 * torch.pi * drawn.to(device)
        self.unknown = torch.polar(torch.ones_like(angle), angle)
        span = self.n_fft + self.lookahead * self.hop
        # The overlap-added final frames and their squared windows, from the oldest open frame on.
        self.made = torch.zeros(rows, span, device=device)
        self.overlap = torch.zeros(span, device=device)
        self.amplitudes = torch.zeros(rows, 0, representation.bins, device=device)
        self.directions = self.amplitudes.to(self.unknown.dtype)
        # The first frame is centred on the first sample; the samples before it are dropped.
        self.before = self.n_fft // 2

    @torch.no_grad()
    def __call__(self, log_magnitude: Tensor) -> Tensor:
        """Process frames `[B, F, S]` of log-magnitudes; return the samples `[B, N]` that are now final."""
        amplitudes = self.representation.amplitude(log_magnitude.float()).mT
        return self._without_beginning([self._push(amplitude) for amplitude in amplitudes.unbind(1)])

    @torch.no_grad()
    def finish(self) -> Tensor:
        """Return the remaining samples `[B, N]` after the last frame."""
        parts = [self._settle() for _ in range(self.amplitudes.shape[1])]
        rest = self.made / self.overlap.clamp(min=_LEAST_OVERLAP)
        # The sound has `samples(T)` samples: it ends at the centre of the last frame.
        return self._without_beginning([*parts, rest[:, : self.n_fft // 2 - self.hop]])

    def _push(self, amplitude: Tensor) -> Tensor:
        """Add a frame `[B, F]`; return the samples that become final, `[B, hop]` or `[B, 0]`."""
        place = self.amplitudes.shape[1]
        known = self._overlapped()[:, place * self.hop : place * self.hop + self.n_fft]
        spectrum = self._analysed(known)
        self.amplitudes = torch.cat([self.amplitudes, amplitude[:, None]], dim=1)
        self.directions = torch.cat([self.directions, self._directions_of(spectrum)], dim=1)
        return self._settle() if place == self.lookahead else self.made[:, :0]

    def _settle(self) -> Tensor:
        """Run the iterations, finalize the oldest frame; return the samples `[B, hop]` it completes."""
        frames = self.amplitudes.shape[1]
        for _ in range(self.iterations):
            known = self._overlapped()[:, : self.n_fft + (frames - 1) * self.hop]
            self.directions = self._directions_of(self._analysed(known))
        self._add(self.made, self._synthesized(slice(1)))
        self.overlap[: self.n_fft] += self.window.square()
        done = self.made[:, : self.hop] / self.overlap[: self.hop].clamp(min=_LEAST_OVERLAP)
        self.made = F.pad(self.made[:, self.hop :], (0, self.hop))
        self.overlap = F.pad(self.overlap[self.hop :], (0, self.hop))
        self.amplitudes, self.directions = self.amplitudes[:, 1:], self.directions[:, 1:]
        return done

    def _overlapped(self) -> Tensor:
        """Return the overlap-added final and open frames."""
        made, overlap = self.made.clone(), self.overlap.clone()
        frames = self._synthesized(slice(None))
        self._add(made, frames)
        self._add(overlap[None], self.window.square().expand(1, frames.shape[1], -1))
        return made / overlap.clamp(min=_LEAST_OVERLAP)

    def _synthesized(self, which: slice) -> Tensor:
        spectrum = self.amplitudes[:, which] * self.directions[:, which] / self._scale
        if not spectrum.shape[1]:
            return self.made.new_zeros(len(self.made), 0, self.n_fft)
        return torch.fft.irfft(spectrum, n=self.n_fft) * self.window

    def _add(self, samples: Tensor, frames: Tensor) -> None:
        for index, frame in enumerate(frames.unbind(1)):
            samples[:, index * self.hop : index * self.hop + self.n_fft] += frame

    def _analysed(self, samples: Tensor) -> Tensor:
        return analyse(samples * self._scale, self.n_fft, self.hop, self.n_fft).mT

    @property
    def _scale(self) -> float:
        return 4 / self.n_fft

    def _directions_of(self, spectrum: Tensor) -> Tensor:
        size = spectrum.abs()
        return torch.where(size > _SILENCE, spectrum / size.clamp(min=_SILENCE), self.unknown)

    def _without_beginning(self, parts: list[Tensor]) -> Tensor:
        samples = torch.cat([self.made[:, :0], *parts], dim=1)
        kept = samples[:, self.before :]
        self.before = max(0, self.before - samples.shape[1])
        return kept
