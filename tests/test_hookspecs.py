"""Tests of distill.hookspecs, the path by which authors import the contract of a plugin."""

from distill import hookspecs
from distill.plugin import hookspecs as contract


def test_it_has_every_name_that_the_contract_defines():
    """Plugins may import from `distill.hookspecs` what is defined in `distill.plugin.hookspecs`."""
    defined = {
        name
        for name, value in vars(contract).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == contract.__name__
    }
    assert {"TermConfig", "TermSpec", "distill_loss_terms"} <= defined
    assert {"PROJECT", "hookimpl", "hookspec", *defined} == {*hookspecs.__all__}
    assert all(getattr(hookspecs, name) is getattr(contract, name) for name in hookspecs.__all__)
