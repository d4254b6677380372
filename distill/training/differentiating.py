"""The gradients of a loss's terms on one batch, for a training step and for `distill losses profile`.

Shapes: `B` clips in a batch, `K` terms.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """The tensors with respect to which terms are differentiated.

    `outputs` are those of the decoder, `posterior` its `mu` and `logvar`, all `[B, ...]`; `parameters` are
    weights of the model. Any of them may be empty.
    """

    outputs: tuple[Tensor, ...]
    posterior: tuple[Tensor, ...] = ()
    parameters: tuple[Tensor, ...] = ()

    def gradients_of(self, value: Tensor) -> "Places":
        """Return the gradients of a scalar at these places, 0 where it does not depend on them.

        The graph of the scalar is kept. Nothing is added to `grad` of any tensor.
        """
        if not value.requires_grad or not any(self):  # a term without gradient can only be monitored
            return Places(*(tuple(map(torch.zeros_like, each)) for each in self))
        every = (*self.outputs, *self.posterior, *self.parameters)
        found = torch.autograd.grad(
            value, every, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        outputs, posterior = len(self.outputs), len(self.outputs) + len(self.posterior)
        return Places(found[:outputs], found[outputs:posterior], found[posterior:])


def flat(gradients: Sequence[Tensor]) -> Tensor:
    """Return gradients `[B, ...]` side by side, `[B, n]`."""
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def inner_products(gradients: Sequence[Tensor]) -> Tensor:
    """Return the inner products of K gradients `[B, n]` in each example: `[B, K, K]`, without a graph."""
    stacked = torch.stack(list(gradients)).detach()
    return torch.einsum("ibn,jbn->bij", stacked, stacked)


def norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of gradients of any shapes together, a scalar."""
    return torch.stack([gradient.float().square().sum() for gradient in gradients]).sum().sqrt()
