"""The formulas of the losses, as pure functions of tensors.

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
    """Compare positive STFT magnitudes of one shape `[B, F, T]` (Arik et al., 2018).

    Spectral convergence, `||target - prediction|| / ||target||`, plus the mean absolute difference of
    the logarithms. auraloss takes the norms over the whole batch, so that a loud clip drowns a quiet
    one; `per_example` takes them per example and averages.
    """
    return distances.spectral_distance(prediction, target, per_example=per_example)


def multi_resolution_distance(
    magnitudes: Iterable[tuple[Tensor, Tensor]], *, per_example: bool = False
) -> Tensor:
    """Average the spectral distance over resolutions (Yamamoto et al., 2019).

    `magnitudes` holds `(prediction, target)` of one resolution each, `[B, F, T]`.
    """
    each = [spectral_distance(*pair, per_example=per_example) for pair in magnitudes]
    return torch.stack(each).mean()


class MultiResolutionSTFTLoss(nn.Module):
    """The value and gradient of auraloss 0.4.0's `MultiResolutionSTFTLoss`, on waveforms `[B, C, N]`."""

    def __init__(self, config: StftConfig) -> None:
        super().__init__()
        self.config = config
        self.auraloss = auraloss_distance(config)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare `prediction` with `target`, both `[B, C, N]`.

        Raises:
            ShapeError: the two differ in shape, or are not `[B, C, N]`.
            ConfigError: the engine `fast` was chosen, and the code is compiled, exported or transformed.
        """
        _require_shape("prediction and target", "[B, C, N]", prediction, target, fits=prediction.ndim == 3)

        sides = prediction.flatten(0, 1), target.flatten(0, 1)
        if self.auraloss is not None:
            return self.auraloss(*sides)
        require_engine(self.config, *sides)
        return distances.multi_resolution_stft_distance(
            *sides, self.config.resolutions, per_example=self.config.per_example
        )


class _HasStft(Protocol):
    """The config of a whole loss."""

    @property
    def stft(self) -> StftConfig: ...


def create_stft_loss(
    config: StftConfig | _HasStft | None = None, device: torch.device | str | None = None
) -> MultiResolutionSTFTLoss:
    """Return the multi-resolution STFT loss, called with `(prediction, target)` on `[B, C, N]`.

    Args:
        config: that of the term, or of a whole loss which has it as `stft`; by default `StftConfig()`.
        device: where the loss is moved to; it follows its inputs all the same.

    Raises:
        ConfigError: `config` is neither.
    """
    stft = StftConfig() if config is None else getattr(config, "stft", config)
    if not isinstance(stft, StftConfig):
        raise ConfigError(f"expected a StftConfig or a loss config with one as 'stft', got {config!r}")
    return MultiResolutionSTFTLoss(stft).to(device)


def magnitude_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Give the mean absolute difference of two magnitudes of one shape, whatever their scale."""
    return F.l1_loss(prediction, target)


def instantaneous_frequency_distance(error: Tensor, target_amplitude: Tensor) -> Tensor:
    """Give the mean absolute IF error weighted by the target's amplitude, both `[B, F, T]`.

    The weights are divided by their mean, so that the scale of the loss is that of the error. A
    target of silence has no frequency: 0.
    """
    return (target_amplitude * error.abs()).mean() / _mean_weight(target_amplitude)


def circular_frequency_distance(prediction: Tensor, target: Tensor, target_amplitude: Tensor) -> Tensor:
    """Give `instantaneous_frequency_distance` of the error `prediction - target` less whole turns, sooner.

    A frequency has no ends: an error of a whole turn is none. Only the prediction gets a gradient.
    """
    return distances.turning_distance(prediction, target, target_amplitude) / _mean_weight(target_amplitude)


def _mean_weight(amplitude: Tensor) -> Tensor:
    mean = amplitude.mean()
    return torch.where(mean > 0, mean, 1.0)


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Give `KL(N(mu, exp(logvar)) || N(0, 1))` in nats, element by element (Kingma & Welling, 2014)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def kl_divergence(mu: Tensor, logvar: Tensor, free_bits: float = 0.0) -> Tensor:
    """Sum the KL divergence over D, in nats, and average it over everything else.

    `mu` and `logvar` are `[B, D]` or `[B, D, T']`. Each element counts at least `free_bits` nats,
    and below them gets no gradient (Kingma et al., 2016, per element).

    Raises:
        ShapeError: `mu` and `logvar` do not share one of these shapes.
    """
    _require_shape("mu and logvar", "[B, D] or [B, D, T']", mu, logvar, fits=mu.ndim in (2, 3))
    return kl_per_dimension(mu, logvar).clamp(min=free_bits).sum(1).mean()


def compute_kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Give the KL divergence without free bits, summed over `[B, D]`'s D and averaged over B."""
    return kl_divergence(mu, logvar)


def get_kl_weight(epoch: int, total_epochs: int, warmup_fraction: float, weight_max: float) -> float:
    """Give the KL weight of an epoch: linear from 0 over `int(total_epochs * warmup_fraction)` epochs."""
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
    """Give the plain VAE loss: `(mse + kl_weight * kl, mse, kl)`, the KL with free bits.

    Raises:
        ShapeError: `reconstruction` and `target`, or `mu` and `logvar`, differ in shape.
    """
    _require_shape("reconstruction and target", "[B, ...]", reconstruction, target, fits=True)
    mse = F.mse_loss(reconstruction, target)
    kl = kl_divergence(mu, logvar, free_bits)
    return mse + kl_weight * kl, mse, kl


@frozen(kw_only=True)
class LossConfig:
    """The options of `compute_combined_loss`, one config for each of its terms."""

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
    """Compare two `[B, 2, F, T]` spectrograms, taken as they are, with a posterior `[B, D]`.

    Channel 0, which must not be negative, is flattened per example for the STFT loss, compared, and
    used as the weight of the IF error in channel 1. Passing `stft_loss`, from `create_stft_loss`,
    saves making one.

    Returns:
        `total_loss` and `recon_loss`, weighted; `stft_loss`, `mag_recon_loss`, `if_recon_loss` and
        `kl_loss`, unweighted. All of them scalars.

    Raises:
        ShapeError: `recon` and `target` do not share the shape `[B, 2, F, T]`, or `mu` and `logvar` none.
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


def _require_shape(names: str, expected: str, first: Tensor, second: Tensor, *, fits: bool) -> None:
    # torch would broadcast one against the other in silence.
    if first.shape != second.shape or not fits:
        raise ShapeError(
            f"{names} must share the shape {expected}: got {list(first.shape)} and {list(second.shape)}"
        )
