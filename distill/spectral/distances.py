"""The spectral distance (Arik et al., 2018), of magnitudes and of waveforms.

Shapes: `B` batch, `N` samples, `T` frames, `F` bins.

The distance is the spectral convergence, `||target - prediction|| / ||target||`, plus the mean absolute
difference of the log-magnitudes. The norms are taken over the whole batch, as in auraloss, or per example.
"""

import functools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain
from distill.spectral.frames import Adjoint, Frames
from distill.spectral.gradients import Context, apply, differentiable, keep_above
from distill.spectral.parts import backwards, in_parts
from distill.spectral.plain import MAGNITUDE_FLOOR
from distill.spectral.replays import replayed, replayed_with_gradient
from distill.spectral.transforms import stft_magnitude


def spectral_distance(prediction: Tensor, target: Tensor, *, per_example: bool) -> Tensor:
    """Return the spectral distance of positive magnitudes of one shape `[B, F, T]`, a scalar."""
    if plain.is_needed(prediction, target):
        return plain.spectral_distance(prediction, target, per_example=per_example)

    def compute(prediction: Tensor, target: Tensor) -> Tensor:
        return cast("Tensor", apply(_OfMagnitudes, prediction, target, per_example))

    return replayed_with_gradient(compute, (_OfMagnitudes, per_example), prediction, target)


def stft_distance(
    prediction: Tensor, target: Tensor, resolution: tuple[int, int, int], *, per_example: bool
) -> Tensor:
    """Return the spectral distance of the STFT magnitudes of `[B, N]` waveforms, a scalar.

    If only the prediction requires a gradient, the gradient is computed together with the value, so that only
    the gradient is kept in memory.

    Args:
        prediction: The predicted waveforms.
        target: The target waveforms.
        resolution: `(n_fft, hop, win_length)`, in samples.
        per_example: Whether the norms are taken per example.
    """
    if plain.is_needed(prediction, target):
        return plain.stft_distance(prediction, target, resolution, per_example=per_example)
    if target.requires_grad:
        sides = (stft_magnitude(side, *resolution) for side in (prediction, target))
        return spectral_distance(*sides, per_example=per_example)
    one, other = (Frames(side, *resolution, centred=True) for side in (prediction, target))
    return cast("Tensor", apply(_OfWaveforms, one.samples, other.samples, one, other, per_example))


def multi_resolution_stft_distance(
    prediction: Tensor, target: Tensor, resolutions: Sequence[tuple[int, int, int]], *, per_example: bool
) -> Tensor:
    """Return the mean of `stft_distance` over resolutions `(n_fft, hop, win_length)`, a scalar."""
    each = [stft_distance(prediction, target, r, per_example=per_example) for r in resolutions]
    return torch.stack(each).mean()


def turning_distance(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of `weight * abs(wrapped(prediction - target))`, all `[B, F, T]`; weights are >= 0.

    Only the prediction gets a gradient. It is computed with the value, in the widest of the dtypes.
    """
    dtype = functools.reduce(torch.promote_types, (each.dtype for each in (prediction, target, weight)))
    prediction, target, weight = (each.to(dtype) for each in (prediction, target, weight))
    if plain.is_needed(prediction, target, weight):
        return plain.turning_distance(prediction, target, weight)
    return cast("Tensor", apply(_OfTurns, prediction, target, weight))


class _OfTurns(Function):
    """Weighted absolute differences of angles in units of pi, modulo whole turns."""

    @staticmethod
    def forward(ctx: Context, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        slopes = weight.mT.new_empty(weight.mT.shape)
        total = slopes.new_zeros(())
        for one, other, size, slope in in_parts(prediction.mT, target.mT, weight.mT, slopes):
            error = one - other
            error -= torch.add(error, 1, out=slope).mul_(0.5).floor_().mul_(2)
            torch.sign(error, out=slope).mul_(size)
            total += error.mul_(slope).sum()
        ctx.save_for_backward(slopes.mT)
        return total / slopes.numel()

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        # Plain operations: between two turns the slope of the distance is constant.
        (slopes,) = ctx.saved_tensors
        return slopes * (gradient / slopes.numel()), None, None


def _of_magnitudes_again(ctx: Context) -> tuple[tuple[Tensor, Tensor], Tensor]:
    prediction, target, *_ = ctx.saved_tensors
    return (prediction, target), plain.spectral_distance(prediction, target, per_example=ctx.per_example)


class _OfMagnitudes(Function):
    """The spectral distance in one pass over memory forward and one backward; autograd takes a dozen."""

    @staticmethod
    def forward(ctx: Context, prediction: Tensor, target: Tensor, per_example: bool) -> Tensor:  # noqa: FBT001  # as torch has it
        sums = []
        for one, other in in_parts(prediction.mT, target.mT):
            work = one - other
            error = _sum(work.mul_(work))
            size = _sum(torch.mul(other, other, out=work))
            sums.append((error, size, _sum(torch.div(one, other, out=work).log_().abs_())))
        distance, error, size = _distance(sums, target.mT.shape, per_example)
        ctx.save_for_backward(prediction, target, error, size)
        ctx.per_example = per_example
        return distance

    @staticmethod
    @differentiable(_of_magnitudes_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        prediction, target, error, size = ctx.saved_tensors
        of_prediction, of_target = (
            torch.empty_like(x) if needed else None
            for x, needed in zip((prediction, target), ctx.needs_input_grad, strict=False)
        )
        shape = target.mT.shape
        of_error = _per_frame(gradient * _slope(error, size), shape)
        of_size = _per_frame(gradient / len(error) * error / size**3, shape)
        of_logarithm = gradient / target.numel()
        nothing = of_error[..., :0]
        results = [nothing if x is None else x.mT for x in (of_prediction, of_target)]
        for one, other, pull, weight, *places in in_parts(
            prediction.mT, target.mT, of_error, of_size, *results
        ):
            difference = one - other
            sign = difference.sign().mul_(of_logarithm)
            difference *= pull
            if of_prediction is not None:
                torch.addcdiv(difference, sign, one, out=places[0])
            if of_target is not None:
                torch.neg((difference + weight * other).addcdiv_(sign, other), out=places[1])
        return of_prediction, of_target, None


def _of_waveforms_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    samples, target, _ = ctx.saved_tensors
    window, hop, reach = ctx.transform
    sides = (
        plain.floored_magnitude(plain.spectra(side, window, hop, reach), MAGNITUDE_FLOOR)
        for side in (samples, target)
    )
    return (samples,), plain.spectral_distance(*sides, per_example=ctx.per_example)


class _OfWaveforms(Function):
    """The spectral distance of samples. Spectra are computed and differentiated part by part."""

    @staticmethod
    def forward(
        ctx: Context,
        samples: Tensor,
        target_samples: Tensor,
        prediction: Frames,
        target: Frames,
        per_example: bool,  # noqa: FBT001  # as torch has it
    ) -> Tensor:
        if not ctx.needs_input_grad[0]:
            distance, _ = _of_frames(prediction, target, per_example=per_example, differentiated=False)
            return distance

        def compute(samples: Tensor, target_samples: Tensor) -> tuple[Tensor, Tensor]:
            sides = prediction.of(samples), target.of(target_samples)
            distance, gradient = _of_frames(*sides, per_example=per_example, differentiated=True)
            return distance, cast("Tensor", gradient)

        kind = _OfWaveforms, *prediction.resolution, per_example
        distance, gradient = replayed(compute, kind, samples, target_samples)
        ctx.save_for_backward(samples, target_samples, gradient)
        ctx.transform = prediction.window, prediction.hop, prediction.reach
        ctx.per_example = per_example
        return distance

    @staticmethod
    @differentiable(_of_waveforms_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        *_, of_samples = ctx.saved_tensors
        return gradient * of_samples, None, None, None, None


def _of_frames(
    prediction: Frames, target: Frames, *, per_example: bool, differentiated: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the distance of frames and, if wanted, its gradient by the prediction's samples."""
    sums, kept = [], []
    for one, other in in_parts(prediction.unwindowed, target.unwindowed):
        spectrum = prediction.transform(one)
        power = prediction.power(spectrum).clamp_(min=MAGNITUDE_FLOOR**2)
        ratio = prediction.power(prediction.transform(other)).clamp_(min=MAGNITUDE_FLOOR**2)
        size = _sum(ratio)
        torch.div(power, ratio, out=ratio).rsqrt_()  # faster than the square root of the inverse
        logarithm = _sum_of_logarithms(ratio)
        excess = torch.sub(1, ratio, out=ratio)  # of the prediction, relative to it
        sums.append((_sum((excess * excess).mul_(power)), size, logarithm))
        if differentiated:
            kept.append((spectrum, power, excess))
    distance, *norms = _distance(sums, prediction.shape, per_example)
    return distance, _gradient(prediction, kept, _slope(*norms)) if differentiated else None


def _gradient(frames: Frames, kept: list[tuple[Tensor, Tensor, Tensor]], slope: Tensor) -> Tensor:
    """Return the gradient by a prediction's samples, from the spectrum, power and excess of each part."""
    adjoint = Adjoint(frames)
    bins = math.prod(frames.shape)
    parts = in_parts(frames.unwindowed, _per_frame(slope, frames.shape), *adjoint.blocks)
    for (spectrum, power, excess), (_, of_error, *blocks) in backwards(kept, parts):
        sign = excess.sign()
        scale = excess.mul_(of_error).addcdiv_(sign, power, value=1 / bins)
        adjoint.add_scaled(blocks, spectrum, keep_above(MAGNITUDE_FLOOR**2, power, scale))
    return adjoint.gradient()


def _sum(part: Tensor) -> Tensor:
    return part.sum(dim=(1, 2))


def _sum_of_logarithms(ratio: Tensor) -> Tensor:
    """Return the sums of the absolute logarithms of `[b, t, F]` per example.

    One logarithm is taken of the product of two ratios. For magnitudes from the floor to 1e14 no product
    overflows.
    """
    larger = torch.maximum(ratio, ratio.reciprocal())
    once, twice = larger.tensor_split([-(-larger.shape[1] // 2)], 1)
    once[:, : twice.shape[1]] *= twice
    return _sum(once.log_())


def _distance(
    sums: list[tuple[Tensor, Tensor, Tensor]],
    shape: tuple[int, ...],
    per_example: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distance of magnitudes `[B, T, F]`, and the norms of error and target, `[B]` or `[1]`.

    `sums` holds the squared error, squared target and logarithmic error of each part, per example.
    """
    error, size, logarithm = (
        torch.cat(parts).view(shape[0], -1).sum(-1) for parts in zip(*sums, strict=True)
    )
    if not per_example:
        error, size = error.sum(0, keepdim=True), size.sum(0, keepdim=True)
    error, size = error.sqrt(), size.sqrt()
    return (error / size).mean() + logarithm.sum() / math.prod(shape), error, size


def _slope(error: Tensor, size: Tensor) -> Tensor:
    """Return the derivative of the convergence by an error, divided by the error; 0 if there is no error."""
    return (1 / (len(error) * error * size)).masked_fill(error == 0, 0.0)


def _per_frame(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Expand `[B]` or `[1]` values to the frames of `[B, T, F]`: `[B, T, 1]`."""
    return values[:, None, None].expand(*shape[:2], 1)
