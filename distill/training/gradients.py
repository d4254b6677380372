"""What part each term has in the gradient, and the weights that would give it another.

Shapes: `E` examples, `K` terms.
"""

from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor

from distill.errors import TermError


@frozen(kw_only=True, eq=False)
class Gradients:
    """The gradients of a loss's terms, unweighted, by their inner products in each example.

    `output` `[E, K, K]` holds those of the gradients with respect to the decoder's output, `posterior`
    `[E, K, K]` those with respect to the posterior's `mu` and `logvar`, to which what reaches the
    output is carried back through the decoder. Terms are in the order of `names`.

    The size of a gradient is its norm in an example, averaged over the examples, as in EnCodec's
    balancer (Defossez et al., 2022). A term that does not reach the output, as a KL divergence, meets
    the others at the posterior only. There, all that reaches the output, weighted and added up, has
    another size than at the output; at that rate the term is counted.
    """

    names: tuple[str, ...]
    output: Tensor
    posterior: Tensor

    @property
    def reaching(self) -> tuple[str, ...]:
        """The terms that reach the decoder's output."""
        return tuple(
            name for name, reaches in zip(self.names, self._reach().tolist(), strict=True) if reaches
        )

    def norms(self) -> dict[str, float]:
        """Give the size of each term's own gradient: at the output, else at the posterior."""
        return self._named(self._norms())

    def sizes(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Give the size of each weighted term, counted at the output."""
        weight = self._vector(weights)
        return self._named(weight * self._norms() * self._rates(weight))

    def cosine(self, one: str, other: str) -> float:
        """Give the cosine between the gradients of two terms, the mean over examples with both.

        It is that at the output if both reach it, else that at the posterior; nan if no example has both.
        """
        products = self.output if {one, other} <= {*self.reaching} else self.posterior
        first, second = self.names.index(one), self.names.index(other)
        squares = products[:, first, first] * products[:, second, second]
        both = squares > 0
        return float((products[both, first, second] / squares[both].sqrt()).mean())

    def weights_for(self, shares: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
        """Give the weights with which the terms named in `shares` have these shares of their sum.

        What these terms bring to the output together stays as large as with `weights`, and so do the
        weights of all other terms. All shares are above 0.

        Raises:
            TermError: a term has no gradient that a weight could scale.
        """
        norms, reaching = self.norms(), {*self.reaching}
        for name in shares:
            if norms[name] == 0:
                raise TermError(
                    f"loss term '{name}' has no gradient here, so that no weight gives it a share",
                    remedy="Leave it out of the target, or train the model on until it has one.",
                )
        # Weights all 0 are no measure: then what the terms bring unweighted is kept.
        sizes = self.sizes(weights)
        kept = [name for name in shares if name in reaching] or list(shares)
        size = sum(sizes[name] for name in kept) or sum(norms[name] for name in kept)
        whole = size / sum(shares[name] for name in kept)
        found = {name: shares[name] * whole / norms[name] for name in shares if name in reaching}
        # The rate depends on the weights of what reaches the output, and so comes after them.
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
        """Give how much a gradient of size 1 counts at the output, for each term: 1 where it reaches it."""
        reach = self._reach()
        joint = torch.where(reach, weight, 0.0)
        output, posterior = (
            torch.einsum("i,eij,j->e", joint, products, joint).clamp(min=0).sqrt().mean()
            for products in (self.output, self.posterior)
        )
        # With nothing to be compared with, terms of the posterior compare among themselves.
        rate = torch.where((output > 0) & (posterior > 0), output / posterior, 1.0)
        return torch.where(reach, 1.0, rate)

    def _vector(self, weights: Mapping[str, float]) -> Tensor:
        return self.output.new_tensor([weights[name] for name in self.names])

    def _named(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self.names, values.tolist(), strict=True))
