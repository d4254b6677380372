"""Overlapping windowed frames of samples, their spectra, and the adjoint: overlap-add.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.

The adjoint of framing is overlap-add, and the adjoint of a real FFT is the inverse real FFT, so that the
backward pass costs about as much as the forward pass.
"""

from collections.abc import Iterator
from functools import cache, cached_property

import torch
from torch import Tensor

from distill.spectral import plain
from distill.spectral.parts import Scratch, in_parts


@cache  # without a bound, since CUDA graphs read the memory of what it holds
def hann_window(win_length: int, n_fft: int, device: torch.device) -> Tensor:
    """Return the periodic Hann window of `win_length` samples, centred in `n_fft` zeros: `[n_fft]`."""
    with torch.inference_mode(mode=False):
        return plain.hann_window(win_length, n_fft, device)


def inverse_squares(window: Tensor, hop: int, frames: int) -> Tensor:
    """Return the reciprocal of the summed squares of a Hann window `[n_fft]` of `frames` frames.

    It is 0 where the squares vanish, and has the shape `[(frames - 1) * hop + n_fft]`. Between the ends,
    where all windows overlap, the sum is repeated every `hop` samples.
    """
    overlapping = -(-len(window) // hop)
    more = max(0, frames - 2 * overlapping)
    ends = _inverse_squares(len(window), hop, frames - more, window.device, window.dtype)
    if not more:
        return ends
    before, after = ends.tensor_split([overlapping * hop])
    return torch.cat([before, before[-hop:].repeat(more), after])


@cache  # as above
def _inverse_squares(n_fft: int, hop: int, frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(mode=False):
        window = plain.hann_window(n_fft, n_fft, device).to(dtype)
        squares = OverlapAdd(window * window, hop, (1, frames))
        squares.add(squares.blocks, window.new_ones(1, frames, n_fft))
        return plain.inverted(squares.samples[0])


class Frames:
    """Overlapping windowed frames `[B, T, n_fft]` of `samples` `[B, N]`, in float32 or float64.

    With `centred`, the samples are reflected at both ends by n_fft // 2, and first padded with zeros if
    there are too few. `kept` holds the spectra of all parts, or nothing if they are not kept.
    """

    def __init__(self, samples: Tensor, n_fft: int, hop: int, win_length: int, *, centred: bool) -> None:
        window = hann_window(win_length, n_fft, samples.device)
        dtype = torch.promote_types(samples.dtype, window.dtype)
        self.reach = n_fft // 2 if centred else 0
        self.samples, self.window, self.hop = samples.to(dtype), window.to(dtype), hop
        if samples.shape[-1] <= self.reach:
            self.samples = plain.padded(self.samples, self.reach)
        self.resolution = n_fft, hop, win_length
        self.kept: list[Tensor] = []
        self._scratch = Scratch(self.window)

    def of(self, samples: Tensor) -> "Frames":
        """Return the frames of other samples of the same shape and dtype as `samples`."""
        if samples is self.samples:
            return self
        return Frames(samples, *self.resolution, centred=self.reach > 0)

    @cached_property
    def unwindowed(self) -> Tensor:
        """The frames without the window: a view of the padded samples."""
        n_fft, hop, _ = self.resolution
        return plain.reflected(self.samples.detach(), self.reach).unfold(-1, n_fft, hop)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the spectra, `(B, T, F)`."""
        return self.unwindowed.shape[0], self.unwindowed.shape[1], self.resolution[0] // 2 + 1

    def spectra(self) -> Iterator[Tensor]:
        """Return the spectrum of each part of `unwindowed`, from `kept` if available."""
        return (
            iter(self.kept) if self.kept else (self.transform(part) for (part,) in in_parts(self.unwindowed))
        )

    def transform(self, unwindowed: Tensor) -> Tensor:
        """Return the spectrum `[b, t, F]` of a part of `unwindowed`."""
        return torch.fft.rfft(torch.mul(unwindowed, self.window, out=self._scratch.like(unwindowed)))

    def power(self, spectrum: Tensor) -> Tensor:
        """Return the squared magnitude of a spectrum `[b, t, F]`."""
        parts = torch.view_as_real(spectrum)
        real, imaginary = torch.mul(parts, parts, out=self._scratch.like(parts)).unbind(-1)
        return real + imaginary

    def recomputed(self, samples: Tensor) -> Tensor:
        """Return all spectra `[B, T, F]` of `samples`, by plain torch operations."""
        return plain.spectra(samples, self.window, self.hop, self.reach)

    def release(self) -> None:
        """Free the scratch memory."""
        self._scratch = Scratch(self.window)


class OverlapAdd:
    """Windowed frames `[B, T, n_fft]`, summed to `samples` `[B, N]` part by part.

    `blocks` are views of the sum at each frame's first `hop` samples, its second, and so on: `[B, T, hop]`
    each. N is (T - 1) * hop + n_fft unless `samples` is given.
    """

    def __init__(self, window: Tensor, hop: int, shape: tuple[int, ...], samples: int = 0) -> None:
        batch, frames = shape
        self._hop, self._windows = hop, window.split(hop)
        count = frames + len(self._windows) - 1
        samples = samples or (frames - 1) * hop + len(window)
        summed = window.new_zeros(batch, max(samples, count * hop))
        self._summed, self.samples = summed, summed[:, :samples]
        grid = summed[:, : count * hop].unflatten(-1, (count, hop))
        self.blocks = [grid[:, i : i + frames, : len(w)] for i, w in enumerate(self._windows)]

    def clear(self) -> None:
        """Set the sum to 0."""
        self._summed.zero_()

    def add(self, blocks: list[Tensor], frames: Tensor) -> None:
        """Add frames `[b, t, n_fft]` to these parts of `blocks`."""
        for block, part, window in zip(blocks, frames.split(self._hop, -1), self._windows, strict=True):
            block.addcmul_(part, window)


class Adjoint(OverlapAdd):
    """The gradient by the samples of `Frames`, summed part by part from gradients by their spectra."""

    def __init__(self, frames: Frames) -> None:
        # The inverse FFT counts each bin twice, except the first and, for an even size, the last one.
        padded = frames.samples.shape[-1] + 2 * frames.reach
        super().__init__(0.5 * frames.window, frames.hop, frames.shape[:2], padded)
        self._n_fft, self._reach = len(frames.window), frames.reach
        self._edges = edges(self._n_fft)
        self._pull = Scratch(frames.window.new_empty(0, dtype=frames.window.dtype.to_complex()))

    def add_spectrum(self, blocks: list[Tensor], gradient: Tensor) -> None:
        """Add the contribution of a gradient by the spectrum, complex `[b, t, F]`."""
        pull = self._pull.like(gradient).copy_(gradient)
        pull[..., self._edges] *= 2
        self._add_inverse(blocks, pull)

    def add_scaled(self, blocks: list[Tensor], spectrum: Tensor, scale: Tensor) -> None:
        """Add the contribution of the gradient `scale * spectrum`. The real `scale` is overwritten."""
        scale[..., self._edges] *= 2
        self._add_inverse(blocks, self._pull.like(spectrum).copy_(scale).mul_(spectrum))

    def _add_inverse(self, blocks: list[Tensor], pull: Tensor) -> None:
        self.add(blocks, inverse_rfft(pull, self._n_fft, norm="forward"))

    def gradient(self) -> Tensor:
        """Return the gradient `[B, N]`. The reflected ends are added to the samples that they reflect."""
        reach, end = self._reach, self.samples.shape[-1] - 2 * self._reach - 1
        left, gradient, right = self.samples.tensor_split([reach, reach + end + 1], -1)
        gradient[:, 1 : reach + 1] += left.flip(-1)
        gradient[:, end - reach : end] += right.flip(-1)
        return gradient


def edges(n_fft: int) -> slice:
    """Return the bins without a conjugate counterpart: the first and, for an even size, the last one."""
    return slice(None, None, n_fft // 2 if n_fft % 2 == 0 else n_fft)


def inverse_rfft(spectrum: Tensor, n_fft: int, norm: str | None = None) -> Tensor:
    """Return the inverse real FFT of `[..., F]`, whatever imaginary parts its first and last bin have."""
    if spectrum.device.type != "cpu":
        # CPU libraries ignore these imaginary parts; cuFFT does not guarantee it.
        spectrum = spectrum.clone()
        torch.view_as_real(spectrum)[..., edges(n_fft), 1].zero_()
    return torch.fft.irfft(spectrum, n=n_fft, norm=norm)
