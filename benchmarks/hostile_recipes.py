"""Read thousands of recipes that Hypothesis makes up: each is accepted or refused with one message.

    python benchmarks/hostile_recipes.py --recipes 10000

A recipe is a choice of terms and any number of `--set` assignments, of existing and other addresses, to
values from plausible to absurd. An accepted recipe has to read back equal, and its model and batches are
compared with the memory of this machine. Of the accepted ones that need little, some models are built.
"""

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from distill.config import describe, load_toml, parse_assignment
from distill.config.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import DistillError
from distill.model.building import make_model, make_representation
from distill.model.memory import Sizes
from distill.plugin.registry import Registry
from distill.recipe import read_recipe

_LONGEST_SECONDS = 5.0
_BUILT_BELOW = 50e6
_SECTIONS = {
    "representation": RepresentationSettings,
    "model": ModelSettings,
    "corpus": CorpusSettings,
    "training": TrainingSettings,
}

registry = Registry()
names = [name for term in registry.terms() for name in term.names]
addresses = [f"{section}.{option.name}" for section, cls in _SECTIONS.items() for option in describe(cls)]
addresses += [f"loss.{t.name}.{option.name}" for t in registry.terms() for option in describe(t.spec.config)]
addresses += [
    *_SECTIONS,
    "loss",
    "loss.stft",
    "balancing",
    "balancing.gradient.decay",
    "provenance.stft",
    "x",
    "a.b.c",
]

numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(4, 5000),
    st.sampled_from([2**k for k in range(70)]),
    st.integers(),
    st.sampled_from([10**300, -(10**40), 10**4000]),
    st.floats(0, 2),
    st.floats(),
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["none", "base", "auto", "rich", "compact", "cpu", "\0", "../..", "hf://x/y", "/proc", "~", ""]
    ),
)
values = st.recursive(
    numbers | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
written = st.one_of(
    st.builds("{}={}".format, st.sampled_from(addresses), st.text(max_size=12)),
    st.builds("{}=0x{}".format, st.sampled_from(addresses), st.just("f" * 5000)),
    st.text(max_size=20),
)


def fitting(option):  # noqa: ANN001, ANN201
    """Return plausible values of an option: its default, and others of its type."""
    of_type = {
        "whole number": st.integers(0, 4096),
        "number": st.floats(0, 2),
        "true or false": st.booleans(),
        "list of whole numbers": st.lists(st.integers(0, 4096), min_size=1, max_size=3),
    }
    default = st.nothing() if option.default is None else st.just(option.default)
    return default | of_type.get(option.type, st.nothing() if option.default is not None else st.just("x"))


options = {
    f"{section}.{option.name}": option for section, cls in _SECTIONS.items() for option in describe(cls)
}
plausible = st.one_of(*(st.tuples(st.just(address), fitting(option)) for address, option in options.items()))
absurd = st.tuples(st.sampled_from(addresses), values)
assignments = st.lists(plausible, max_size=6) | st.lists(plausible | absurd, max_size=4)
losses = st.one_of(
    st.none(),
    st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True).map(",".join),
    st.text(max_size=10),
)
trees = st.dictionaries(
    st.sampled_from([*_SECTIONS, "loss", "balancing", "provenance", "x"]), values, max_size=2
)


def main() -> None:
    """Read the recipes, and print how many were accepted, and the time and memory that they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=10_000)
    parser.add_argument("--build", type=int, default=50, help="models to build of accepted recipes")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest = [0.0]

    @settings(
        max_examples=arguments.recipes,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        tree=trees, loss=losses, given_values=assignments, typed=st.just([]) | st.lists(written, max_size=2)
    )
    def read(tree, loss, given_values, typed):  # noqa: ANN001, ANN202
        began = time.process_time()
        counts["recipes"] += 1
        try:
            parsed = [parse_assignment(text) for text in typed]
            draft = read_recipe(tree, registry, loss=loss, assignments=[*given_values, *parsed])
            counts["accepted"] += 1
            again = read_recipe(_through_toml(draft.recipe.to_toml()), registry)
            _require(again.recipe == draft.recipe, "a recipe reads back differently")
            sizes = Sizes(draft.recipe.model, draft.recipe.representation)
            sizes.require_training(draft.recipe.training)
            counts["fit into memory"] += 1
        except DistillError as error:
            counts["refused with a message"] += 1
            _require(bool(str(error).strip()), "there is no message")
            sizes = None
        slowest[0] = max(slowest[0], time.process_time() - began)
        if sizes and sizes.bytes < _BUILT_BELOW and counts["models built"] < arguments.build:
            counts["models built"] += 1
            make_model(draft.recipe.model, make_representation(draft.recipe.representation), 0)
        _require(slowest[0] < _LONGEST_SECONDS, "a recipe takes too long")

    read_recipe({}, registry)  # imports what it needs
    began = time.process_time()
    read()
    for name, count in counts.items():
        print(f"{count:7,} {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{time.process_time() - began:.0f} s of CPU, the slowest {slowest[0]:.2f} s, at most {peak:.0f} MB"
    )


def _require(condition: bool, problem: str) -> None:  # noqa: FBT001  # as an assertion
    if not condition:
        raise AssertionError(problem)


def _through_toml(text: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.toml")
        path.write_text(text, encoding="utf-8")
        return load_toml(path)


if __name__ == "__main__":
    main()
