"""`kl`: the divergence of the posterior from a standard normal."""

from torch import Tensor, nn

from distill import functional
from distill.plugin.builtin_terms import KlConfig
from distill.views import LossInputs


class KlTerm(nn.Module):
    """Compute the KL divergence in nats, where each latent dimension counts at least its free bits."""

    def __init__(self, config: KlConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        posterior = inputs.posterior
        return functional.kl_divergence(posterior.mu, posterior.logvar, self.config.free_bits)
