"""The terms `kl_capacity`, `kl_batch_free_bits`, `mmd` and `active_units`."""

from torch import Tensor, nn

from distill import LossInputs
from distill_latent import (
    ActiveUnitsConfig,
    KlBatchFreeBitsConfig,
    KlCapacityConfig,
    MmdConfig,
    formulas,
)


class KlCapacityTerm(nn.Module):
    """Keep the KL divergence at a capacity, which rises linearly over the training run."""

    def __init__(self, config: KlCapacityConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss, in nats."""
        posterior, config = inputs.posterior, self.config
        risen = min(1.0, inputs.progress / config.rise) if config.rise else 1.0
        return formulas.kl_beyond(posterior.mu, posterior.logvar, config.capacity * risen)


class KlBatchFreeBitsTerm(nn.Module):
    """Compute the KL divergence with free bits for each dimension's mean over the mini-batch."""

    def __init__(self, config: KlBatchFreeBitsConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss, in nats."""
        posterior = inputs.posterior
        return formulas.kl_with_batch_free_bits(posterior.mu, posterior.logvar, self.config.free_bits)


class MmdTerm(nn.Module):
    """Compare the mixture of all posteriors of a mini-batch with a standard normal."""

    def __init__(self, config: MmdConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss, the squared discrepancy."""
        posterior = inputs.posterior
        return formulas.squared_mmd(posterior.mu, posterior.logvar, self.config.bandwidth)


class ActiveUnitsTerm(nn.Module):
    """Count the latent dimensions that vary between the examples of a mini-batch."""

    def __init__(self, config: ActiveUnitsConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the count."""
        return formulas.active_units(inputs.posterior.mu, self.config.threshold)
