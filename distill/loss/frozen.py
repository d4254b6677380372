"""A pretrained network that a loss term uses and does not train."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from distill.errors import InputError


class FrozenNetwork(nn.Module):
    """Hold a pretrained network whose output a term compares. A call is passed on to the network.

        self.network = FrozenNetwork(network)      # in the term's __init__
        prediction, target = map(self.network, inputs.view(Waveform()))

    The network is moved (`to(device)`, `double()`), pickled and copied with the term. Its parameters have
    no gradient and are not in `parameters()`. It stays in `eval()` mode and is not in `state_dict()`, so that
    checkpoints do not contain it. Gradients reach its inputs.

    Args:
        network: The network with its weights. It is frozen and set to `eval()` mode in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise InputError(
                f"expected an nn.Module, got {network!r}",
                culprit="FrozenNetwork",
                remedy="Pass the network itself, with its weights.",
            )
        # Not a submodule: torch would save, train and list it.
        self.__dict__["_network"] = network.requires_grad_(False).eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # those of the network
        """Call the network."""
        return self.__dict__["_network"](*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenNetwork":  # noqa: FBT001, FBT002  # as torch has it
        # `to` calls it on submodules. torch has no annotations for it.
        self.__dict__["_network"]._apply(fn, recurse)  # noqa: SLF001
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
