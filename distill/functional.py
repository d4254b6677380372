"""The losses as pure functions of tensors.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples, `D` latent size.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import ConfigError, ShapeError
from distill.plugin.builtin_terms import KlConfig, ReconstructionConfig, StftConfig
from distill.spectral import distances
from distill.spectral.engines import auraloss_distance, require_engine


def spectral_distance(prediction: Tensor, target: Tensor, *, per_example: bool = False) -> Tensor:
    """Return the spectral distance of positive STFT magnitudes `[B, F, T]` (Arik et al., 2018), a scalar.

    The distance is the spectral convergence, `||target - prediction|| / ||target||`, plus the mean absolute
    difference of the log-magnitudes.

    Args:
        prediction: The predicted magnitudes.
        target: The target magnitudes, of the same shape.
        per_example: Whether the norms are taken per example and the convergences averaged. By default the
            norms are taken over the whole batch, as in auraloss, so that loud clips outweigh quiet ones.
    """
    return distances.spectral_distance(prediction, target, per_example=per_example)


def multi_resolution_distance(
    magnitudes: Iterable[tuple[Tensor, Tensor]], *, per_example: bool = False
) -> Tensor:
    """Return the mean of the spectral distance over resolutions (Yamamoto et al., 2019), a scalar.

    `magnitudes` yields `(prediction, target)`, each `[B, F, T]`, for each resolution.
    """
    each = [spectral_distance(*pair, per_example=per_example) for pair in magnitudes]
    return torch.stack(each).mean()


class MultiResolutionSTFTLoss(nn.Module):
    """The multi-resolution STFT loss of waveforms `[B, C, N]`, with the values of auraloss 0.4.0."""

    def __init__(self, config: StftConfig) -> None:
        super().__init__()
        self.config = config
        self.auraloss = auraloss_distance(config)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `prediction` and `target`, both `[B, C, N]`, a scalar.

        Raises:
            ShapeError: The two differ in shape, are not `[B, C, N]`, or are empty.
            ConfigError: The engine is `fast`, and the code is compiled, exported or transformed.
        """
        _require_shape(
            *("prediction and target", "[B, C, N], and not be empty", prediction, target),
            fits=prediction.ndim == 3 and prediction.numel() > 0,
            remedy="Add a channel, [B, 1, N]: waveform.unsqueeze(1)." if prediction.ndim == 2 else "",
        )
        sides = prediction.flatten(0, 1), target.flatten(0, 1)
        if self.auraloss is not None:
            return self.auraloss(*sides)
        require_engine(self.config, *sides)
        return distances.multi_resolution_stft_distance(
            *sides, self.config.resolutions, per_example=self.config.per_example
        )


class _HasStft(Protocol):
    """A config with the options of `stft`."""

    @property
    def stft(self) -> StftConfig: ...


def create_stft_loss(
    config: StftConfig | _HasStft | None = None, device: torch.device | str | None = None
) -> MultiResolutionSTFTLoss:
    """Return the multi-resolution STFT loss, called with `(prediction, target)` on `[B, C, N]`.

    Args:
        config: A `StftConfig`, or a loss config with one as `stft`. By default `StftConfig()`.
        device: The device of the loss. It also accepts inputs on other devices.

    Raises:
        ConfigError: `config` is neither.
    """
    stft = StftConfig() if config is None else getattr(config, "stft", config)
    if not isinstance(stft, StftConfig):
        raise ConfigError(f"expected a StftConfig or a loss config with one as 'stft', got {config!r}")
    return MultiResolutionSTFTLoss(stft).to(device)


def magnitude_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of two magnitudes of one shape, linear or logarithmic."""
    return F.l1_loss(prediction, target)


def instantaneous_frequency_distance(error: Tensor, target_amplitude: Tensor) -> Tensor:
    """Return the mean absolute IF error weighted by the target's amplitude, both `[B, F, T]`.

    The weights are divided by their mean, so that the loss has the scale of the error. It is 0 for a silent
    target.
    """
    return (target_amplitude * error.abs()).mean() / _mean_weight(target_amplitude)


def circular_frequency_distance(prediction: Tensor, target: Tensor, target_amplitude: Tensor) -> Tensor:
    """Return the `instantaneous_frequency_distance` of the wrapped error `prediction - target`, in less time.

    IFs are in units of pi: the error is wrapped to [-1, 1), since IFs that differ by 2 are equal. All are
    `[B, F, T]`. Only the prediction gets a gradient.
    """
    return distances.turning_distance(prediction, target, target_amplitude) / _mean_weight(target_amplitude)


def _mean_weight(amplitude: Tensor) -> Tensor:
    mean = amplitude.mean()
    return torch.where(mean > 0, mean, 1.0)


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return `KL(N(mu, exp(logvar)) || N(0, 1))` in nats, elementwise (Kingma & Welling, 2014)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def kl_divergence(mu: Tensor, logvar: Tensor, free_bits: float = 0.0) -> Tensor:
    """Return the KL divergence in nats, summed over D and averaged over all other dimensions, a scalar.

    `mu` and `logvar` are `[B, D]` or `[B, D, T']`. Each element counts at least `free_bits` nats, and has no
    gradient below (Kingma et al., 2016, per element).

    Raises:
        ShapeError: `mu` and `logvar` do not share one of these shapes.
    """
    _require_shape("mu and logvar", "[B, D] or [B, D, T']", mu, logvar, fits=mu.ndim in (2, 3))
    return kl_per_dimension(mu, logvar).clamp(min=free_bits).sum(1).mean()


def compute_kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL divergence of `[B, D]` without free bits, summed over D and averaged over B."""
    return kl_divergence(mu, logvar)


def get_kl_weight(epoch: int, total_epochs: int, warmup_fraction: float, weight_max: float) -> float:
    """Return the KL weight of an epoch, linear from 0 during `int(total_epochs * warmup_fraction)` epochs."""
    warmup_epochs = int(total_epochs * warmup_fraction)
    if epoch >= warmup_epochs:
        return weight_max
    return weight_max * epoch / warmup_epochs


def vae_loss(
    reconstruction: Tensor,
    target: Tensor,
    mu: Tensor,
    logvar: Tensor,
    kl_weight: float = 1.0,
    free_bits: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the plain VAE loss `(mse + kl_weight * kl, mse, kl)`, where the KL has free bits.

    Raises:
        ShapeError: `reconstruction` and `target`, or `mu` and `logvar`, differ in shape.
    """
    _require_shape("reconstruction and target", "[B, ...]", reconstruction, target, fits=True)
    mse = F.mse_loss(reconstruction, target)
    kl = kl_divergence(mu, logvar, free_bits)
    return mse + kl_weight * kl, mse, kl


@frozen(kw_only=True)
class LossConfig:
    """The options of `compute_combined_loss`: one config for each term."""

    stft: StftConfig = field(factory=StftConfig)
    reconstruction: ReconstructionConfig = field(factory=ReconstructionConfig)
    kl: KlConfig = field(factory=KlConfig)


def compute_combined_loss(
    recon: Tensor,
    target: Tensor,
    mu: Tensor,
    logvar: Tensor,
    loss_config: LossConfig,
    kl_weight: float,
    stft_loss: nn.Module | None = None,
) -> dict[str, Tensor]:
    """Return the combined loss of two spectrograms `[B, 2, F, T]` and a posterior `[B, D]`.

    Channel 0 must not be negative. It is flattened per example for the STFT loss, compared by its mean
    absolute difference, and used as the weight of the IF error in channel 1. The spectrograms are not
    converted in any way.

    Args:
        recon: The predicted spectrogram.
        target: The target spectrogram.
        mu: The mean of the posterior.
        logvar: The log-variance of the posterior.
        loss_config: The options of the terms.
        kl_weight: The weight of the KL divergence.
        stft_loss: A module from `create_stft_loss`, to avoid building one at each call.

    Returns:
        Scalars by name: `total_loss` and `recon_loss` are weighted; `stft_loss`, `mag_recon_loss`,
        `if_recon_loss` and `kl_loss` are not.

    Raises:
        ShapeError: `recon` and `target` do not share the shape `[B, 2, F, T]`, or the shapes of `mu` and
            `logvar` differ.
    """
    fits = recon.ndim == 4 and recon.shape[1] == 2
    _require_shape("recon and target", "[B, 2, F, T]", recon, target, fits=fits)
    stft_loss = create_stft_loss(loss_config.stft) if stft_loss is None else stft_loss
    options = loss_config.reconstruction
    stft = stft_loss(recon[:, 0].flatten(1).unsqueeze(1), target[:, 0].flatten(1).unsqueeze(1))
    magnitude = magnitude_distance(recon[:, 0], target[:, 0])
    instantaneous_frequency = instantaneous_frequency_distance(recon[:, 1] - target[:, 1], target[:, 0])
    kl = kl_divergence(mu, logvar, loss_config.kl.free_bits)
    reconstruction = options.weight * (
        options.magnitude_weight * magnitude + options.if_weight * instantaneous_frequency
    )
    return {
        "total_loss": loss_config.stft.weight * stft + reconstruction + kl_weight * kl,
        "stft_loss": stft,
        "mag_recon_loss": magnitude,
        "if_recon_loss": instantaneous_frequency,
        "kl_loss": kl,
        "recon_loss": reconstruction,
    }


def _require_shape(
    names: str, expected: str, first: Tensor, second: Tensor, *, fits: bool, remedy: str = ""
) -> None:
    # torch would silently broadcast one to the other.
    if first.shape != second.shape or not fits:
        raise ShapeError(
            f"{names} must share the shape {expected}: got {list(first.shape)} and {list(second.shape)}",
            remedy=remedy,
        )
