"""Short-time Fourier transforms whose gradients are written by hand.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.

autograd's own backward of a real FFT is a full complex FFT, and its backward of overlapping frames a
scatter. Here a frame's adjoint is the overlap-add and a real FFT's adjoint the inverse real FFT, so
that going back costs about what going forth does. Both ways are gone part by part, from samples to
magnitudes and from their gradients to those of the samples, so that what stands between stays in the cache.

Compiled and exported code, transforms of `torch.func` and the gradients of gradients take the plain
operations of `distill.spectral.plain` instead.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain
from distill.spectral.plain import ANGLE_FLOOR, MAGNITUDE_FLOOR

_CACHED = 3 * 2**17
"""Numbers that are taken at a time on a CPU: more leave its cache, of fewer the calls cost too much."""

_Context: TypeAlias = Any  # torch's own, on which a function keeps what it likes
Kept = TypeVar("Kept")


@lru_cache(maxsize=64)
def hann_window(win_length: int, n_fft: int, device: torch.device) -> Tensor:
    """Give the periodic Hann window of `win_length` samples, centred in `n_fft` zeros: `[n_fft]`."""
    with torch.inference_mode(mode=False):
        return plain.hann_window(win_length, n_fft, device)


def stft(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Transform `[B, N]` real samples to a complex `[B, F, T]`.

    T is N // hop + 1, for an odd `n_fft` (N - 1) // hop + 1.

    The values of `torch.stft(waveform, n_fft, hop, win_length, hann_window, return_complex=True)`:
    centred frames, reflected at both ends. A waveform too short to be reflected is padded with zeros
    first, where torch raises.
    """
    if plain.is_needed(waveform):
        return plain.stft(waveform, n_fft, hop, win_length)
    frames = Frames(waveform, n_fft, hop, win_length, centred=True)
    return cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def stft_magnitude(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Give `floored_magnitude(stft(...))`, `[B, F, T]`, sooner."""
    if plain.is_needed(waveform):
        return plain.stft_magnitude(waveform, n_fft, hop, win_length)
    frames = Frames(waveform, n_fft, hop, win_length, centred=True)
    return cast("Tensor", apply(_Magnitude, frames.samples, frames, False).mT)


def stft_magnitude_first(
    waveform: Tensor, n_fft: int, hop: int, win_length: int
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Give `stft_magnitude(...)`, and what gives `stft(...)` when called, by the same transforms."""
    if plain.is_needed(waveform):
        spectrum = plain.stft(waveform, n_fft, hop, win_length)
        return plain.floored_magnitude(spectrum, MAGNITUDE_FLOOR), lambda: spectrum
    frames = Frames(waveform, n_fft, hop, win_length, centred=True)
    magnitude = apply(_Magnitude, frames.samples, frames, True)
    return magnitude.mT, lambda: cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def analyse(padded: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Transform `[B, N]` samples that are padded already to a complex `[B, F, T]`."""
    if plain.is_needed(padded):
        return plain.analyse(padded, n_fft, hop, win_length)
    frames = Frames(padded, n_fft, hop, win_length, centred=False)
    return cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def synthesise(spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
    """Invert `analyse` with a Hann window of `n_fft` samples: complex `[B, F, T]` to `[B, N]`.

    The least-squares inverse of Griffin and Lim (1984): windowed overlap-add over the summed squares
    of the window. N = (T - 1) * hop + n_fft; the outermost samples, where the squares vanish, are 0.
    """
    if plain.is_needed(spectrum):
        return plain.synthesise(spectrum, n_fft, hop)
    window = hann_window(n_fft, n_fft, spectrum.device).to(spectrum.real.dtype)
    squares = _OverlapAdd(window * window, hop, (1, spectrum.shape[-1]))
    squares.add(squares.blocks, window.new_ones(1, spectrum.shape[-1], n_fft))
    return apply(_Synthesis, spectrum.mT, window, hop) * plain.inverted(squares.samples)


def magnitude(spectrum: Tensor) -> Tensor:
    """Give the magnitude of a complex tensor: `abs` less its guard against overflow, three times faster."""
    return power(spectrum).sqrt_()


def power(spectrum: Tensor) -> Tensor:
    """Give the squared magnitude of a complex tensor."""
    # Interleaved parts are squared together, which is faster than one after the other.
    real, imaginary = torch.view_as_real(spectrum.resolve_conj()).square().unbind(-1)
    return real + imaginary


def floored_magnitude(spectrum: Tensor, floor: float = MAGNITUDE_FLOOR) -> Tensor:
    """Give the magnitude of a complex tensor, at least `floor`; no gradient flows below the floor."""
    if plain.is_needed(spectrum):
        return plain.floored_magnitude(spectrum, floor)
    return apply(_FlooredMagnitude, spectrum, floor)


def angle(spectrum: Tensor) -> Tensor:
    """Give the angle of a complex tensor, in radians.

    Its gradient grows as 1 / magnitude; none flows where the magnitude is below 1e-6.
    """
    if plain.is_needed(spectrum):
        return plain.angle(spectrum)
    return apply(_Angle, spectrum)


def apply(function: type[Function], *arguments: object) -> Any:  # noqa: ANN401  # whatever the function gives
    """Apply a function that has its own gradient."""
    return function.apply(*arguments)


Backward: TypeAlias = Callable[[_Context, Tensor], Any]
Recompute: TypeAlias = Callable[[_Context], tuple[tuple[Tensor, ...], Tensor]]


def differentiable(recompute: Recompute) -> Callable[[Backward], Backward]:
    """Make the hand-written backward of a function differentiable.

    Where a graph of the gradient is wanted, or `torch.vmap` runs through it, the gradient is instead that of
    `recompute(ctx)`: the function's leading inputs, and its value by plain operations.
    """

    def decorate(backward: Backward) -> Backward:
        @wraps(backward)
        def either(ctx: _Context, gradient: Tensor) -> Any:  # noqa: ANN401  # one or several tensors
            if not (torch.is_grad_enabled() or plain.is_transformed()):
                return backward(ctx, gradient)
            with torch.enable_grad():
                inputs, value = recompute(ctx)
            needed = ctx.needs_input_grad
            wanted = [one for one, need in zip(inputs, needed, strict=False) if need]
            graph = torch.is_grad_enabled()
            gradients = iter(torch.autograd.grad(value, wanted, gradient, create_graph=graph))
            return tuple(next(gradients) if need else None for need in needed)

        return either

    return decorate


def in_parts(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors of one shape `[B, ...]` or `[B, T, ...]` alike, into parts to take one after the other.

    On a CPU what is computed of one part stays in the cache from step to step, which is most of what
    there is to gain; elsewhere the whole is one part. The parts of an example follow each other.
    """
    tensors = first, *others
    if first.device.type != "cpu" or first.numel() <= _CACHED:
        return iter([tensors])
    count = _CACHED * len(first) // first.numel()
    if count or first.ndim < 3:
        return zip(*(tensor.split(max(1, count)) for tensor in tensors), strict=True)
    frames = first.shape[1]
    cuts = -(-first[0].numel() // _CACHED)
    return (
        part
        for example in zip(*(tensor.split(1) for tensor in tensors), strict=True)
        for part in zip(*(tensor.split(-(-frames // cuts), 1) for tensor in example), strict=True)
    )


def backwards(
    kept: list[Kept], parts: Iterator[tuple[Tensor, ...]]
) -> Iterator[tuple[Kept, tuple[Tensor, ...]]]:
    """Give what was kept of each part with the part, from the last, of which the cache still holds most."""
    return reversed([*zip(kept, parts, strict=True)])


class Frames:
    """Overlapping windowed frames `[B, T, n_fft]` of `samples` `[B, N]`, of float32 at least.

    Where they are `centred`, the samples are reflected at both ends by n_fft // 2, and padded with
    zeros first if there are too few. `kept` are the spectra of all parts, if they are kept.
    """

    def __init__(self, samples: Tensor, n_fft: int, hop: int, win_length: int, *, centred: bool) -> None:
        window = hann_window(win_length, n_fft, samples.device)
        dtype = torch.promote_types(samples.dtype, window.dtype)
        self.reach = n_fft // 2 if centred else 0
        self.samples, self.window, self.hop = samples.to(dtype), window.to(dtype), hop
        if samples.shape[-1] <= self.reach:
            self.samples = plain.padded(self.samples, self.reach)
        self.unwindowed = plain.reflected(self.samples.detach(), self.reach).unfold(-1, n_fft, hop)
        self.shape = self.unwindowed.shape[0], self.unwindowed.shape[1], n_fft // 2 + 1
        self.kept: list[Tensor] = []
        self._scratch = _Scratch(self.window)

    def spectra(self) -> Iterator[Tensor]:
        """Give the spectrum of each part of `unwindowed`: those that are kept, if any."""
        return (
            iter(self.kept) if self.kept else (self.transform(part) for (part,) in in_parts(self.unwindowed))
        )

    def transform(self, unwindowed: Tensor) -> Tensor:
        """Give the spectrum `[b, t, F]` of a part of `unwindowed`."""
        return torch.fft.rfft(torch.mul(unwindowed, self.window, out=self._scratch.like(unwindowed)))

    def power(self, spectrum: Tensor) -> Tensor:
        """Give the squared magnitude of a spectrum `[b, t, F]`."""
        parts = torch.view_as_real(spectrum)
        real, imaginary = torch.mul(parts, parts, out=self._scratch.like(parts)).unbind(-1)
        return real + imaginary

    def recomputed(self, samples: Tensor) -> Tensor:
        """Give all spectra `[B, T, F]` of `samples` in plain operations."""
        return plain.spectra(samples, self.window, self.hop, self.reach)

    def release(self) -> None:
        """Free the memory that the parts went through."""
        self._scratch = _Scratch(self.window)


class _Scratch:
    """Memory for one part after the other, since fresh memory costs more than what is done with it."""

    def __init__(self, kind: Tensor) -> None:
        self._memory = kind.new_empty(0)

    def like(self, tensor: Tensor) -> Tensor:
        """Give memory of the shape of a tensor, overwriting what was given before."""
        if self._memory.numel() < tensor.numel():
            self._memory = self._memory.new_empty(tensor.numel())
        return self._memory[: tensor.numel()].view(tensor.shape)


class _OverlapAdd:
    """Windowed frames `[B, T, n_fft]`, added up to `samples` `[B, N]` part by part.

    `blocks` are the places of a frame's first `hop` samples, its second, and so on: `[B, T, hop]` each.
    N is (T - 1) * hop + n_fft unless it is given.
    """

    def __init__(self, window: Tensor, hop: int, shape: tuple[int, ...], samples: int = 0) -> None:
        batch, frames = shape
        self._hop, self._windows = hop, window.split(hop)
        count = frames + len(self._windows) - 1
        samples = samples or (frames - 1) * hop + len(window)
        summed = window.new_zeros(batch, max(samples, count * hop))
        self.samples = summed[:, :samples]
        grid = summed[:, : count * hop].unflatten(-1, (count, hop))
        self.blocks = [grid[:, i : i + frames, : len(w)] for i, w in enumerate(self._windows)]

    def add(self, blocks: list[Tensor], frames: Tensor) -> None:
        """Add frames `[b, t, n_fft]` where parts of `blocks` say."""
        for block, part, window in zip(blocks, frames.split(self._hop, -1), self._windows, strict=True):
            block.addcmul_(part, window)


class Adjoint(_OverlapAdd):
    """The gradient at the samples of `Frames`, from gradients at their spectra, added part by part."""

    def __init__(self, frames: Frames) -> None:
        # The inverse FFT counts each bin twice but the first and, for an even size, the last one.
        padded = frames.samples.shape[-1] + 2 * frames.reach
        super().__init__(0.5 * frames.window, frames.hop, frames.shape[:2], padded)
        self._n_fft, self._reach = len(frames.window), frames.reach
        self._edges = _edges(self._n_fft)
        self._pull = _Scratch(frames.window.new_empty(0, dtype=frames.window.dtype.to_complex()))

    def add_spectrum(self, blocks: list[Tensor], gradient: Tensor) -> None:
        """Add what a gradient at the spectrum, complex `[b, t, F]`, comes to."""
        pull = self._pull.like(gradient).copy_(gradient)
        pull[..., self._edges] *= 2
        self._add_inverse(blocks, pull)

    def add_scaled(self, blocks: list[Tensor], spectrum: Tensor, scale: Tensor) -> None:
        """Add what the gradient `scale * spectrum`, with a real `scale` that is used up, comes to."""
        scale[..., self._edges] *= 2
        self._add_inverse(blocks, self._pull.like(spectrum).copy_(scale).mul_(spectrum))

    def _add_inverse(self, blocks: list[Tensor], pull: Tensor) -> None:
        self.add(blocks, _inverse_rfft(pull, self._n_fft, norm="forward"))

    def gradient(self) -> Tensor:
        """Give the sum, that of the reflected ends added to the samples that they are reflections of."""
        reach, end = self._reach, self.samples.shape[-1] - 2 * self._reach - 1
        left, gradient, right = self.samples.tensor_split([reach, reach + end + 1], -1)
        gradient[:, 1 : reach + 1] += left.flip(-1)
        gradient[:, end - reach : end] += right.flip(-1)
        return gradient


def _edges(n_fft: int) -> slice:
    """Give the bins that stand for themselves alone: the first and, for an even size, the last one."""
    return slice(None, None, n_fft // 2 if n_fft % 2 == 0 else n_fft)


def _inverse_rfft(spectrum: Tensor, n_fft: int, norm: str | None = None) -> Tensor:
    """Return the inverse real FFT of `[..., F]`, whatever imaginary parts its first and last bin have."""
    if spectrum.device.type != "cpu":
        # Those have no meaning. CPUs' libraries leave them out; cuFFT does not promise to.
        spectrum = spectrum.clone()
        torch.view_as_real(spectrum)[..., _edges(n_fft), 1].zero_()
    return torch.fft.irfft(spectrum, n=n_fft, norm=norm)


def keep_above(floor: float, size: Tensor, gradient: Tensor) -> Tensor:
    """Set a gradient to 0 in place where `size` is at most `floor`; a tenth of what `masked_fill` takes."""
    torch.ops.aten.threshold_backward.grad_input(gradient, size, floor, grad_input=gradient)
    return gradient


def _spectrum_again(ctx: _Context) -> tuple[tuple[Tensor], Tensor]:
    samples = ctx.frames.samples
    return (samples,), ctx.frames.recomputed(samples)


class _Spectrum(Function):
    """Spectra of frames, complex `[B, T, F]`."""

    @staticmethod
    def forward(ctx: _Context, samples: Tensor, frames: Frames) -> Tensor:  # noqa: ARG004  # the frames' own
        ctx.frames = frames
        result = frames.window.new_empty(frames.shape, dtype=frames.window.dtype.to_complex())
        for (_, place), spectrum in zip(in_parts(frames.unwindowed, result), frames.spectra(), strict=True):
            place.copy_(spectrum)
        frames.release()
        return result

    @staticmethod
    @differentiable(_spectrum_again)
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None]:
        adjoint = Adjoint(ctx.frames)
        for part, *blocks in in_parts(gradient, *adjoint.blocks):
            adjoint.add_spectrum(blocks, part)
        return adjoint.gradient(), None


def _magnitude_again(ctx: _Context) -> tuple[tuple[Tensor], Tensor]:
    samples, _ = ctx.saved_tensors
    return (samples,), plain.floored_magnitude(ctx.frames.recomputed(samples), MAGNITUDE_FLOOR)


class _Magnitude(Function):
    """Magnitudes of frames, `[B, T, F]`. The frames keep the spectra, if `wanted` or differentiated."""

    @staticmethod
    def forward(ctx: _Context, samples: Tensor, frames: Frames, wanted: bool) -> Tensor:  # noqa: FBT001
        ctx.frames = frames
        result = frames.window.new_empty(frames.shape)
        for unwindowed, size in in_parts(frames.unwindowed, result):
            spectrum = frames.transform(unwindowed)
            if wanted or ctx.needs_input_grad[0]:
                frames.kept.append(spectrum)
            torch.sqrt(frames.power(spectrum), out=size).clamp_(min=MAGNITUDE_FLOOR)
        frames.release()
        ctx.save_for_backward(samples, result)
        return result

    @staticmethod
    @differentiable(_magnitude_again)
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        _, magnitude = ctx.saved_tensors
        adjoint = Adjoint(ctx.frames)
        parts = in_parts(ctx.frames.unwindowed, gradient, magnitude, *adjoint.blocks)
        for spectrum, (_, pull, size, *blocks) in backwards(ctx.frames.kept, parts):
            adjoint.add_scaled(blocks, spectrum, keep_above(MAGNITUDE_FLOOR, size, pull / size))
        return adjoint.gradient(), None, None


def _synthesis_again(ctx: _Context) -> tuple[tuple[Tensor], Tensor]:
    # It is linear, so that its gradient is the same anywhere and no spectrum needs to be kept.
    spectrum = torch.zeros(ctx.shape, dtype=ctx.dtype, device=ctx.window.device, requires_grad=True)
    return (spectrum,), plain.overlap_add(spectrum, ctx.window, ctx.hop)


class _Synthesis(Function):
    """Overlapping windowed inverse real FFTs: complex `[B, T, F]` to `[B, (T - 1) * hop + n_fft]`."""

    @staticmethod
    def forward(ctx: _Context, spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
        ctx.window, ctx.hop, ctx.shape, ctx.dtype = window, hop, spectrum.shape, spectrum.dtype
        summed = _OverlapAdd(window, hop, spectrum.shape[:2])
        for part, *blocks in in_parts(spectrum, *summed.blocks):
            summed.add(blocks, _inverse_rfft(part, len(window)))
        return summed.samples

    @staticmethod
    @differentiable(_synthesis_again)
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        n_fft = len(ctx.window)
        frames = gradient.contiguous().unfold(-1, n_fft, ctx.hop)
        result = gradient.new_empty(ctx.shape, dtype=ctx.dtype)
        # Each bin stands for two in the inverse, but those at the edges.
        window = ctx.window * (2 / n_fft)
        for part, place in in_parts(frames, result):
            place.copy_(torch.fft.rfft(part * window))
            place[..., _edges(n_fft)] *= 0.5
        return result, None, None


def _floored_magnitude_again(ctx: _Context) -> tuple[tuple[Tensor], Tensor]:
    spectrum, _ = ctx.saved_tensors
    return (spectrum,), plain.floored_magnitude(spectrum, ctx.floor)


class _FlooredMagnitude(Function):
    @staticmethod
    def forward(ctx: _Context, spectrum: Tensor, floor: float) -> Tensor:
        value = torch.empty_like(spectrum.real)
        for part, result in in_parts(spectrum, value):
            torch.sqrt(power(part), out=result).clamp_(min=floor)
        ctx.save_for_backward(spectrum, value)
        ctx.floor = floor
        return value

    @staticmethod
    @differentiable(_floored_magnitude_again)
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None]:
        spectrum, value = ctx.saved_tensors
        result = torch.empty_like(spectrum)
        for part, size, pull, place in in_parts(spectrum, value, gradient, result):
            torch.mul(part, keep_above(ctx.floor, size, pull / size), out=place)
        return result, None


def _angle_again(ctx: _Context) -> tuple[tuple[Tensor], Tensor]:
    (spectrum,) = ctx.saved_tensors
    return (spectrum,), plain.angle(spectrum)


class _Angle(Function):
    @staticmethod
    def forward(ctx: _Context, spectrum: Tensor) -> Tensor:
        ctx.save_for_backward(spectrum)
        # `angle` takes twice as long: it does not vectorise over parts that lie interleaved.
        return torch.atan2(spectrum.imag.contiguous(), spectrum.real.contiguous())

    @staticmethod
    @differentiable(_angle_again)
    def backward(ctx: _Context, gradient: Tensor) -> Tensor:
        (spectrum,) = ctx.saved_tensors
        size = power(spectrum)
        scale = keep_above(ANGLE_FLOOR**2, size, gradient / size)
        return torch.complex(-spectrum.imag * scale, spectrum.real * scale)
