"""Tests of distill.loss.frozen: a pretrained network in a term, which is not trained and not saved."""

import copy
import pickle

import pytest
import torch
from torch import nn

from distill import FrozenNetwork, TermConfig, TermSpec, compose
from distill.errors import InputError
from distill.testing import check_term, loss_inputs
from distill.views import Waveform


def network():
    """Return a network that would change in training mode."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 4, 64, stride=32), nn.BatchNorm1d(4), nn.ELU())


class Ear(nn.Module):
    """Compares what the network makes of both sounds."""

    def __init__(self, _):
        super().__init__()
        self.network = FrozenNetwork(network())

    def forward(self, inputs):
        """Compare features."""
        prediction, target = (self.network(side[:, None]) for side in inputs.view(Waveform()))
        return (prediction - target).abs().mean()


UNCOMPILED = {"compiled": "it takes longer than all other checks"}
SPEC = TermSpec(name="ear", config=TermConfig, build=Ear, summary="", waivers=UNCOMPILED)


def test_it_gives_what_the_network_gives():
    """Output uses the running statistics, also in training, and the input alone has a gradient."""
    sound = torch.randn(2, 1, 256, requires_grad=True)
    expected = network().eval()(sound)
    loss = compose(SPEC).train()
    features = loss.terms["ear"].network(sound)
    torch.testing.assert_close(features, expected)
    features.sum().backward()
    assert sound.grad.abs().sum() > 0


def test_nothing_of_it_is_saved_or_trained():
    """A frozen network is in neither state nor parameters, and a state without it loads strictly."""
    loss = compose(["recon", SPEC])
    assert (dict(loss.state_dict()), [*loss.parameters()]) == ({}, [])
    loss.load_state_dict({})


def test_it_moves_with_the_term():
    """The network follows its term to another dtype, as to another device."""
    term = Ear(None).double()
    assert term.network(torch.zeros(1, 1, 64, dtype=torch.float64)).dtype == torch.float64
    sound = torch.zeros(1, 1, 64, dtype=torch.float64, device="meta")
    assert term.to("meta").network(sound).device.type == "meta"


def through_pickle(module):
    """Return what a process that is sent the module has."""
    return pickle.loads(pickle.dumps(module))  # noqa: S301  # our own


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
def test_a_copy_has_a_network_of_its_own(copied):
    """A copy has the same weights, and does not change with the original."""
    module = FrozenNetwork(network())
    other = copied(module)
    sound = torch.randn(1, 1, 256)
    expected = module(sound)
    module.double()
    torch.testing.assert_close(other(sound), expected)


@pytest.mark.parametrize("given", [None, nn.Linear, print])
def test_what_is_no_network(given):
    """The message shows what was given, and asks for the network itself."""
    with pytest.raises(InputError) as caught:
        FrozenNetwork(given)
    assert str(caught.value) == (
        f"FrozenNetwork: expected an nn.Module, got {given!r}\nPass the network itself, with its weights."
    )


def test_a_term_with_one_passes_the_kit():
    """A term with a frozen network passes all checks of the kit, that of the state included."""
    check_term(SPEC)
    assert compose(SPEC)(loss_inputs())["ear"] > 0
