"""Tests of distill.plugin.hookspecs."""

import ast
import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import torch

from distill.plugin.hookspecs import (
    BalancerConfig,
    BalancerSpec,
    BaseTermConfig,
    TermConfig,
    TermSpec,
    TrainedTermConfig,
    distill_balancers,
    distill_loss_terms,
)
from distill.plugin.registry import Registry

PLUGIN = Path(__file__).parents[2] / "plugins" / "distill-band-energy"


@attrs.frozen(kw_only=True)
class Config(TermConfig):
    """Options of a term."""

    gain: float = 1.0


def spec(**changes):
    """Make a valid spec, but for the changes."""
    return TermSpec(**{"name": "mine", "config": Config, "build": "mine:Mine", "summary": "", **changes})


def test_weight_is_scaled_by_the_schedule():
    """`weight_at` is the weight times the schedule's factor."""
    config = Config(weight=2.0, schedule=((0.0, 0.0), (0.5, 1.0)))
    assert [config.weight_at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]


def test_weight_is_constant_without_a_schedule():
    """By default the weight is 1 throughout."""
    assert [Config().weight_at(progress) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weight_must_be_finite_and_not_negative(weight):
    """A weight that cannot be a factor of a loss is refused."""
    with pytest.raises(ValueError, match="'weight' must be"):
        Config(weight=weight)


def test_schedule_is_validated():
    """A schedule that goes back in time is refused where it is declared."""
    with pytest.raises(ValueError, match="'schedule' must have progress values that rise"):
        Config(schedule=((0.5, 1.0), (0.0, 1.0)))


@pytest.mark.parametrize("name", ["mine", "band_energy", "a2"])
def test_spec_accepts_a_plain_name(name):
    """Names are lower-case letters, digits, underscores, a letter first."""
    assert spec(name=name, aliases=(f"{name}_too",)).name == name


@pytest.mark.parametrize("name", ["", "Mine", "2nd", "band-energy", "a.b", "a:b", "a,b", "a b", "mine\n"])
@pytest.mark.parametrize("attribute", ["name", "aliases"])
def test_spec_refuses_a_name_that_is_no_address(name, attribute):
    """A name that could not stand in `--loss`, in an address or in TOML is refused, as an alias too."""
    message = (
        f"'{attribute}' must be lower-case letters, digits and underscores, beginning with a letter: {name!r}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        spec(**{attribute: name if attribute == "name" else (name,)})


@pytest.mark.parametrize(
    "name", ["total", "weight", "weighted", "objective", "gradient_norm", "lambda", "class"]
)
@pytest.mark.parametrize("attribute", ["name", "aliases"])
def test_spec_refuses_a_name_that_is_taken(name, attribute):
    """A term must not hide a component of the composer's, and `recipe.loss.lambda` is not Python."""
    with pytest.raises(ValueError, match=f"^'{attribute}' must be") as caught:
        spec(**{attribute: name if attribute == "name" else (name,)})
    assert str(caught.value) == (
        f"'{attribute}' must be neither a Python keyword nor one of total, weight, weighted, objective, "
        f"gradient_norm: {name!r}"
    )


@pytest.mark.parametrize("config", [dict, Config(), None])
def test_spec_refuses_what_is_not_a_config_class(config):
    """The config must be a subclass of TermConfig, not an instance or anything else."""
    with pytest.raises(TypeError) as caught:
        spec(config=config)
    assert str(caught.value) == f"'config' of 'mine' must be a subclass of distill.TermConfig: {config!r}"


def test_spec_refuses_an_undecorated_config():
    """Without attrs' decorator the options of a subclass would be ignored in silence."""

    class Undecorated(TermConfig):
        bands: int = 8

    with pytest.raises(TypeError) as caught:
        spec(config=Undecorated)
    assert str(caught.value) == (
        f"'config' of 'mine' must be decorated with @attrs.frozen(kw_only=True): {Undecorated!r}"
    )


def test_base_config_demands_weight_at():
    """A config that names its weight itself must say what it is over the training."""

    @attrs.frozen(kw_only=True)
    class Weightless(BaseTermConfig):
        strength: float = 1.0

    with pytest.raises(TypeError, match="weight_at"):
        Weightless()


def documented_plugin():
    """Return the module and the entry point that the hookspec's docstring shows."""
    documentation = inspect.cleandoc(distill_loss_terms.__doc__)
    module, entry_point = documentation.split("\n\nand an entry point in its `pyproject.toml`:\n\n")
    return textwrap.dedent(module.split("one module:\n\n")[1]), textwrap.dedent(entry_point)


def test_documented_plugin_is_the_one_in_plugins():
    """The plugin in the hookspec's docstring is the code that is installed and tested."""
    documented, _ = documented_plugin()
    source = (PLUGIN / "distill_band_energy.py").read_text(encoding="utf-8")
    assert ast.unparse(ast.parse(documented)) == ast.unparse(ast.parse(source))


def test_documented_entry_point_is_the_one_in_plugins():
    """The entry point in the hookspec's docstring is the one that is installed."""
    _, documented = documented_plugin()
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tomllib.loads(documented)["project"]["entry-points"] == project["entry-points"]


def test_a_waiver_needs_a_reason():
    """A waiver of a check is refused without a reason."""
    assert spec(waivers={"gain": "it compares shapes"}).waivers == {"gain": "it compares shapes"}
    with pytest.raises(ValueError, match="must give a reason") as caught:
        spec(waivers={"gain": " "})
    assert str(caught.value) == "'waivers' must give a reason for the check 'gain': ' '"


def test_a_spec_with_waivers_can_be_hashed():
    """A spec with waivers has the hash of the same spec without them."""
    assert hash(spec(waivers={"gain": "it compares shapes"})) == hash(spec())


@attrs.frozen(kw_only=True)
class TrainedConfig(TrainedTermConfig):
    """Options of a term that is trained itself."""


def test_a_trained_term_begins_late():
    """Before its start it takes no part; its weight follows the schedule all the same."""
    config = TrainedConfig(start=0.5, weight=2.0)
    assert [config.has_begun(progress) for progress in (0.0, 0.49, 0.5, 1.0)] == [False, False, True, True]
    assert [Config().has_begun(progress) for progress in (0.0, 1.0)] == [True, True]


def test_a_trained_term_is_told_by_its_config():
    """The spec of a term with a config for training is that of a trained term."""
    assert spec(config=TrainedConfig).trained
    assert not spec().trained


@attrs.frozen(kw_only=True)
class Balance(BalancerConfig):
    """Options of a balancer."""


def test_a_balancer_needs_a_balancers_config():
    """A config that is no decorated BalancerConfig is refused, and the message names it."""
    balancer = {"name": "even", "build": "even:Even", "summary": ""}
    assert BalancerSpec(config=Balance, **balancer).names == ("even",)
    with pytest.raises(TypeError) as caught:
        BalancerSpec(config=Config, **balancer)
    assert str(caught.value) == f"'config' of 'even' must be a subclass of distill.BalancerConfig: {Config!r}"


def test_what_attrs_makes_of_a_config_is_frozen():
    """Even a class decorated as mutable is as frozen as its base, so that a value can be a key."""

    @attrs.define(kw_only=True)
    class Mutable(TermConfig):
        bands: int = 8

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec(config=Mutable).config().bands = 9


def test_documented_balancer_works():
    """The plugin in the docstring of the balancers' hook, as it stands, balances two losses."""
    documentation = inspect.cleandoc(distill_balancers.__doc__)
    names = {}
    exec(textwrap.dedent(documentation.split("that of a term is:\n\n")[1]), names)  # noqa: S102  # our own
    registry = Registry(discover=False)
    registry.register(SimpleNamespace(distill_balancers=names["distill_balancers"]), name="mine")
    balancer = registry.choose_balancer("equal")
    module = balancer.build(balancer.spec.config(), ("a", "b"))
    factors = module({"a": torch.tensor(4.0), "b": torch.tensor(0.5)}, {"a": 1.0, "b": 2.0}, ())
    assert {name: factor.item() for name, factor in factors.items()} == {"a": 0.25, "b": 4.0}
