"""The modules of a loss's terms, by name: saved and loaded under their names, and pickled."""

import sys
from collections.abc import Iterable
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from distill.loss.config import values_of
from distill.plugin.registered import Term

_OLDER_PREFIX = "term_"
"""The prefix of term names in the state of older versions."""


class TermDict(nn.ModuleDict):
    """The modules of terms, built from their configs. Any name is possible, including `keys` and `training`.

    In the state of a loss, `terms.stft.factor` is the parameter `factor` of the term `stft`. States of older
    versions, with keys such as `terms.term_stft.factor`, can be loaded.
    """

    def __init__(self, terms: Iterable[Term], config: Any) -> None:  # noqa: ANN401  # made for the terms
        self._terms = {term.name: term for term in terms}
        self._config = config
        super().__init__({name: term.build(getattr(config, name)) for name, term in self._terms.items()})
        self.register_load_state_dict_pre_hook(_rename_older_keys)  # type: ignore[no-untyped-call]

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module, even under the name of one of torch's attributes."""
        self._modules[name] = module  # type: ignore[assignment]  # as torch does

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401  # as torch has it
        # torch would take the flag `training` for a module of that name.
        self.__dict__[name] = value

    def __getstate__(self) -> dict[str, Any]:
        modules = {
            name: _Remade.of(self._terms[name], getattr(self._config, name), module)
            if _is_remade(getattr(self._config, name), module)
            else module
            for name, module in self.items()
        }
        return {**self.__dict__, "_modules": modules}

    def __setstate__(self, state: dict[str, Any]) -> None:
        modules = {
            name: module.build() if isinstance(module, _Remade) else module
            for name, module in state["_modules"].items()
        }
        super().__setstate__({**state, "_modules": modules})  # type: ignore[no-untyped-call]


@frozen(kw_only=True)
class _Remade:
    """A module that is pickled as its term, its options and its state."""

    term: Term
    options: dict[str, Any]
    state: dict[str, Tensor]
    learnt: frozenset[str]
    training: bool

    @classmethod
    def of(cls, term: Term, config: Any, module: nn.Module) -> "_Remade":  # noqa: ANN401  # of that term
        """Return what is needed to build the module again."""
        learnt = frozenset(name for name, parameter in module.named_parameters() if parameter.requires_grad)
        return cls(
            term=term,
            options=values_of(config),
            state=module.state_dict(),
            learnt=learnt,
            training=module.training,
        )

    def build(self) -> nn.Module:
        """Build the module as it was, without changing torch's random state."""
        with torch.random.fork_rng(devices=[]):
            module = self.term.build(self.term.spec.config(**self.options))
        module.load_state_dict(self.state, assign=True)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self.learnt)
        return module.train(self.training)


def _is_remade(config: object, module: nn.Module) -> bool:
    """Return whether a module cannot be pickled, due to parametrizations or classes made at run time."""
    classes = {type(config), *map(type, module.modules())}
    return any(map(is_parametrized, module.modules())) or not all(map(_is_importable, classes))


def _is_importable(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def _rename_older_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:  # noqa: ANN401
    own = {prefix + name for name in module.state_dict()}
    given = [name for name in state if name.startswith(prefix)]
    if own.issuperset(given):
        return
    for name in sorted(given, key=len):  # a term may itself be called `term_stft`
        renamed = prefix + name.removeprefix(prefix).removeprefix(_OLDER_PREFIX)
        if renamed in own and renamed not in state:
            state[renamed] = state.pop(name)
