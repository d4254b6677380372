"""The share of each term in the gradient, and the weights that result in given shares.

Shapes: `E` examples, `K` terms.
"""

from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor

from distill.errors import TermError


@frozen(kw_only=True, eq=False)
class Gradients:
    """The unweighted gradients of a loss's terms, represented by their inner products in each example.

    `output` `[E, K, K]` holds the inner products of gradients with respect to the decoder's output.
    `posterior` `[E, K, K]` holds those of gradients with respect to the posterior's `mu` and `logvar`, where
    gradients at the output are backpropagated through the decoder. Terms are in the order of `names`.

    The size of a gradient is its norm in an example, averaged over the examples, as in EnCodec's balancer
    (Defossez et al., 2022). A term that does not depend on the output, such as a KL divergence, has a
    gradient at the posterior only. Its size is converted to the output by a rate: the size at the output of
    the weighted sum of all other terms, divided by its size at the posterior.
    """

    names: tuple[str, ...]
    output: Tensor
    posterior: Tensor

    @property
    def reaching(self) -> tuple[str, ...]:
        """The terms with a gradient at the decoder's output."""
        return tuple(
            name for name, reaches in zip(self.names, self._reach().tolist(), strict=True) if reaches
        )

    def norms(self) -> dict[str, float]:
        """Return the size of each unweighted gradient: at the output, or else at the posterior."""
        return self._named(self._norms())

    def sizes(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the size of each weighted gradient, converted to the output."""
        weight = self._vector(weights)
        return self._named(weight * self._norms() * self._rates(weight))

    def cosine(self, one: str, other: str) -> float:
        """Return the cosine between the gradients of two terms, averaged over examples with both.

        The cosine is computed at the output if both reach it, else at the posterior. It is nan if no example
        has both gradients.
        """
        products = self.output if {one, other} <= {*self.reaching} else self.posterior
        first, second = self.names.index(one), self.names.index(other)
        squares = products[:, first, first] * products[:, second, second]
        both = squares > 0
        return float((products[both, first, second] / squares[both].sqrt()).mean())

    def weights_for(self, shares: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
        """Return weights with which the terms in `shares` have these shares of the sum of their gradients.

        The total size of these terms' gradients at the output stays as it is with `weights`. The weights of
        other terms do not change. All shares must be above 0.

        Raises:
            TermError: a term has no gradient to scale.
        """
        norms, reaching = self.norms(), {*self.reaching}
        for name in shares:
            if norms[name] == 0:
                raise TermError(
                    f"loss term '{name}' has no gradient here, so that no weight gives it a share",
                    remedy="Leave it out of the target, or train the model on until it has one.",
                )
        # If all weights are 0, the total size of the unweighted gradients is kept instead.
        sizes = self.sizes(weights)
        kept = [name for name in shares if name in reaching] or list(shares)
        size = sum(sizes[name] for name in kept) or sum(norms[name] for name in kept)
        whole = size / sum(shares[name] for name in kept)
        found = {name: shares[name] * whole / norms[name] for name in shares if name in reaching}
        # The rates depend on the weights of terms that reach the output, which are computed above.
        rates = self._named(self._rates(self._vector({**weights, **found})))
        return {name: found.get(name, shares[name] * whole / (norms[name] * rates[name])) for name in shares}

    def _norms(self) -> Tensor:
        output, posterior = (
            products.diagonal(dim1=1, dim2=2).sqrt().mean(0) for products in (self.output, self.posterior)
        )
        return torch.where(self._reach(), output, posterior)

    def _reach(self) -> Tensor:
        return self.output.diagonal(dim1=1, dim2=2).sum(0) > 0

    def _rates(self, weight: Tensor) -> Tensor:
        """Return each term's conversion factor to the output: 1 if its gradient reaches the output."""
        reach = self._reach()
        joint = torch.where(reach, weight, 0.0)
        output, posterior = (
            torch.einsum("i,eij,j->e", joint, products, joint).clamp(min=0).sqrt().mean()
            for products in (self.output, self.posterior)
        )
        # If no term reaches the output, sizes at the posterior are compared as they are.
        rate = torch.where((output > 0) & (posterior > 0), output / posterior, 1.0)
        return torch.where(reach, 1.0, rate)

    def _vector(self, weights: Mapping[str, float]) -> Tensor:
        return self.output.new_tensor([weights[name] for name in self.names])

    def _named(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self.names, values.tolist(), strict=True))
