"""Tests of distill.loss.composer: a loss that is copied, pickled, sent to a process, saved and loaded."""

import copy
import io
import multiprocessing
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.errors import TermError
from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.testing import loss_inputs, registry_with
from distill.views import LogMagnitude

BUILT_IN = "stft,recon,kl,waveform"

MODULE = '''
"""A plugin with a buffer, whose builder is {what}."""
import torch
from attrs import frozen
from torch import nn
from distill import TermConfig, TermSpec, hookimpl
from distill.views import LogMagnitude

@frozen(kw_only=True)
class Options(TermConfig):
    gain: float = 1.0

class Mine(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.register_buffer("factor", torch.tensor(3.0))

    def forward(self, inputs):
        return self.config.gain * self.factor * inputs.view(LogMagnitude())[0].mean()

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="mine", config=Options, build={build}, summary="")
'''


def pickled(loss):
    """Pickle and unpickle."""
    return pickle.loads(pickle.dumps(loss))  # noqa: S301  # our own


def saved(loss):
    """Save with torch, and load."""
    file = io.BytesIO()
    torch.save(loss, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def numbers(components):
    """Return components as numbers."""
    return {name: value.item() for name, value in components.items()}


@pytest.fixture
def plugin(tmp_path, monkeypatch, install):
    """Return a function that makes a plugin importable, and installed if it shall be; it gives the module."""

    def write(*, installed):
        build, what = ("lambda config: Mine(config)", "a lambda") if installed else ("Mine", "a class")
        folder = tmp_path / "plugin"
        folder.mkdir()
        (folder / "distill_mine.py").write_text(MODULE.format(build=build, what=what))
        if installed:
            (folder / "pyproject.toml").write_text(
                '[project]\nname = "distill-mine"\nversion = "1.2"\n'
                '[project.entry-points.distill]\nmine = "distill_mine"\n'
            )
            install(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setitem(sys.modules, "distill_mine", None)  # forgotten afterwards
        del sys.modules["distill_mine"]
        return None if installed else __import__("distill_mine")

    return write


@pytest.mark.parametrize("balancer", [None, "gradient"])
@pytest.mark.parametrize("again", [pickled, saved, copy.deepcopy])
def test_a_loss_is_copied_whole(again, balancer):
    """A pickled, saved or copied loss has the same config, terms and components, and still trains."""
    loss = compose(BUILT_IN, {"stft.weight": 2.0}, balancer=balancer)
    loss(loss_inputs())
    other = again(loss)
    assert other.config == loss.config
    assert other.origins == loss.origins
    assert numbers(other(loss_inputs())) == numbers(loss(loss_inputs()))
    inputs = loss_inputs()
    other(inputs)["total"].backward()
    assert inputs.prediction.spectrogram.grad.abs().sum() > 0


def test_the_config_of_a_loss_is_pickled_by_itself():
    """Configs of the same terms are of one class, wherever they were made."""
    configs = [compose("recon,kl", {"kl.weight_max": weight}).config for weight in (0.1, 0.1, 0.2)]
    assert pickled(configs[0]) == configs[1] != configs[2]
    assert repr(pickled(configs[0])) == repr(configs[0])


@pytest.mark.parametrize("name", [term.name for term in Registry().terms()])
def test_every_installed_term_is_pickled(name):
    """All installed terms are pickled, those of plugins too, with parametrized weights."""
    term = Registry().choose(name)[0]
    again = pickled(term)
    assert (again.name, again.origin) == (term.name, term.origin)
    loss = compose(name)
    restored = pickled(loss)
    assert repr(restored.config) == repr(loss.config)
    assert list(restored.state_dict()) == list(loss.state_dict())


@pytest.mark.parametrize("installed", [True, False])
def test_a_spawned_process_gets_a_loss(plugin, installed):
    """A third party's term, installed or importable, has the same weights in a spawned process."""
    module = plugin(installed=installed)
    registry = Registry() if installed else registry_with(module)
    options = {"mine.schedule": [[0, 0], [1, 1]], "mine.gain": 2.0}
    loss = compose("recon,mine", options, registry=registry)
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.apply(loss.weights_at, (0.25,)) == loss.weights_at(0.25)
        state = processes.apply(loss.state_dict)
    assert {key: value.item() for key, value in state.items()} == {"terms.mine.factor": 3.0}


def test_a_term_that_is_not_installed_where_it_is_unpickled_is_named(plugin, monkeypatch):
    """The message names the term, its distribution and version, and the command that installs it."""
    plugin(installed=True)
    content = pickle.dumps(compose("mine"))
    monkeypatch.setattr("distill.plugin.selection.entry_points", lambda **_: ())
    with pytest.raises(TermError) as caught:
        pickle.loads(content)  # noqa: S301  # our own
    assert str(caught.value) == (
        "loss term 'mine' of distill-mine 1.2 is not installed here\n"
        "Install it: pip install distill-mine==1.2"
    )


class Learning(nn.Module):
    """A term with a parameter and a buffer."""

    def __init__(self, _):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, inputs):
        """Count the calls."""
        self.calls += 1
        return self.factor * inputs.view(LogMagnitude())[0].mean()


def learning(*names, **others):
    """Compose a loss of such terms."""
    specs = [TermSpec(name=name, config=TermConfig, build=Learning, summary="") for name in names]
    plugin = SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs))
    return compose(names, registry=registry_with(plugin), **others)


def test_the_state_has_the_names_of_the_terms():
    """No more stands before the name of a parameter or a buffer than where it is."""
    loss = learning("mine", "other", balancer="gradient")
    names = [f"terms.{name}.{key}" for name in ("mine", "other") for key in ("factor", "calls")]
    assert list(loss.state_dict()) == ["balancer.sums", "balancer.counts", *names]
    assert [name for name, _ in loss.named_parameters()] == ["terms.mine.factor", "terms.other.factor"]
    assert list(compose(BUILT_IN).state_dict()) == []


CLASHES = ["keys", "items", "pop", "update", "clear", "forward", "training", "train", "config", "state_dict"]


def test_terms_may_be_named_as_what_torch_has():
    """All at once they are computed, moved, switched to evaluation and back, copied, saved and loaded."""
    loss = learning(*CLASHES).double().float().eval().train().requires_grad_(requires_grad=True)
    assert [module.training for module in loss.modules()] == [True] * len(list(loss.modules()))
    assert not any(module.training for module in loss.eval().modules())
    components = loss(loss_inputs())
    assert components.keys() >= {*CLASHES}
    assert [name for name, _ in loss.named_parameters()] == [f"terms.{name}.factor" for name in CLASHES]
    for other in (pickled(loss), copy.deepcopy(loss), learning(*CLASHES).eval()):
        other.load_state_dict(loss.state_dict())
        assert numbers(other(loss_inputs())) == numbers(loss(loss_inputs()))


@pytest.mark.parametrize("names", [("mine",), ("mine", "other"), ("x", "term_x"), ("term_term_x", "term_x")])
@pytest.mark.parametrize("nested", [False, True])
def test_the_state_of_an_older_version_is_loaded(names, nested):
    """A state with the old keys `terms.term_<name>` loads strictly, alone or within another module."""
    loss, older = learning(*names), learning(*names)
    for number, term in enumerate(older.terms.values()):
        nn.init.constant_(term.factor, number + 3)
    wanted = older.state_dict()
    state = {key.replace("terms.", "terms.term_", 1): value for key, value in wanted.items()}
    if nested:
        nn.ModuleList([loss]).load_state_dict({f"0.{key}": value for key, value in state.items()})
    else:
        loss.load_state_dict(state)
    assert {key: value.item() for key, value in loss.state_dict().items()} == {
        key: value.item() for key, value in wanted.items()
    }


def test_a_state_of_other_terms_is_refused():
    """Loading a state of other terms is an error."""
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "terms.term_gone.factor"'):
        learning("mine").load_state_dict(
            learning("mine").state_dict() | {"terms.term_gone.factor": constant()}
        )


def constant():
    """Make a parameter's value."""
    return torch.tensor(1.0)


def test_progress_is_an_argument_and_no_state():
    """A loss that has been called late in a training weighs an early step as one that has not."""
    used, fresh = compose("recon,kl"), compose("recon,kl")
    used(loss_inputs(progress=1.0))
    assert numbers(used(loss_inputs(progress=0.1))) == numbers(fresh(loss_inputs(progress=0.1)))
    assert used.state_dict() == {}


def test_what_torch_does_not_pickle_is_built_anew():
    """Parametrized weights keep state, mode and values, and random numbers go on as before."""
    loss = compose("adversarial", {"adversarial.channels": 4, "adversarial.start": 0.0}).eval()
    for parameter in loss.terms["adversarial"].discriminators[0].parameters():
        parameter.requires_grad_(requires_grad=False)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    other = pickled(loss)
    assert torch.equal(torch.rand(1), expected)
    for again in (other, copy.deepcopy(loss)):
        flags = [[p.requires_grad for p in each.parameters()] for each in (loss, again)]
        assert flags[0] == flags[1]
        assert not any(module.training for module in again.modules())
        assert numbers(again.train()(loss_inputs())) == numbers(loss.train()(loss_inputs()))
        loss.eval()
