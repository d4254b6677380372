"""A pretrained network that a loss term uses and does not train."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class FrozenNetwork(nn.Module):
    """Own a pretrained network whose output a term compares, and call it as it is called.

        self.network = FrozenNetwork(network)      # in the term's __init__
        prediction, target = map(self.network, inputs.view(Waveform()))

    It moves with the term (`to(device)`, `double()`), is pickled and copied with it, and is otherwise no part
    of it: its parameters have no gradient and are not among `parameters()`, it stays in `eval()` mode, and
    it is not in `state_dict()`, so that checkpoints do not grow by it. Gradients reach its inputs.

    Args:
        network: The network with its weights. It is changed in place: frozen, and put in `eval()` mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # Not a submodule: torch saves, trains and lists those.
        self.__dict__["_network"] = network.requires_grad_(False).eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # those of the network
        """Call the network."""
        return self.__dict__["_network"](*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenNetwork":  # noqa: FBT001, FBT002  # as torch has it
        # What `to` calls in submodules; torch has not annotated it.
        self.__dict__["_network"]._apply(fn, recurse)  # noqa: SLF001
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
