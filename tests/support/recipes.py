"""What the tests of recipes share: the problems of one, and the terms of another."""

import pytest

from distill.errors import ConfigError
from distill.plugin.registry import Registry
from distill.recipe import read_recipe


def problems(tree, registry=None, **options):
    """Return the lines of what is said of a recipe that does not fit."""
    with pytest.raises(ConfigError) as caught:
        read_recipe(tree, registry or Registry(discover=False), **options)
    return str(caught.value).splitlines()


def chosen(draft):
    """Name the terms of a draft."""
    return [term.name for term in draft.terms]
