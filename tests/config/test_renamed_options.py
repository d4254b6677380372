"""Options of earlier versions are understood, with a warning that names the new ones."""

import pytest
from recipes import chosen, problems

from distill.config.renamed_options import move_renamed
from distill.errors import ConfigError
from distill.plugin.registry import Registry
from distill.recipe import DEFAULT_LOSS, read_recipe


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kl_warmup_fraction", "warmup_fraction"),
        ("kl_weight_max", "weight_max"),
        ("free_bits", "free_bits"),
    ],
)
class TestOptionsOfTheFirstDistill:
    """The flat options under `[training]` that are now `loss.kl.*`."""

    def test_are_understood_with_a_warning(self, old, new):
        """The value counts, and the warning names the new path."""
        draft = read_recipe({"training": {old: 0.25}}, Registry(discover=False), loss="stft,kl")
        assert getattr(draft.recipe.loss.kl, new) == 0.25
        assert draft.warnings == (
            f"training.{old} is deprecated and will be removed in 0.4.0; it is now loss.kl.{new}",
        )

    def test_choose_no_terms(self, old, new):
        """The default terms stay chosen."""
        draft = read_recipe({"training": {old: 0.25}}, Registry(discover=False))
        assert chosen(draft) == list(DEFAULT_LOSS)
        assert getattr(draft.recipe.loss.kl, new) == 0.25

    def test_are_not_set_twice(self, old, new):
        """Which of two values was meant is not guessed."""
        tree = {"training": {old: 0.25}, "loss": {"kl": {new: 0.5}}}
        assert problems(tree) == [f"training.{old}: is set as loss.kl.{new} too; keep the latter"]

    def test_need_kl(self, old, new):
        """An option of a term that is not chosen is an error under its old name too."""
        assert problems({"training": {old: 0.25}}, loss="stft") == [
            f"training.{old}: is now loss.kl.{new}, and the term 'kl' is not chosen"
        ]

    def test_are_checked_at_their_new_path(self, old, new):
        """A value that does not fit is reported where it is now."""
        assert problems({"training": {old: "x"}}) == [f'loss.kl.{new}: expected a number, got "x"']


class TestTheOldNameOfGriffinLimIterations:
    """`training.reconciliations`, as recipes and runs of earlier versions have it."""

    WARNING = (
        "training.reconciliations is deprecated and will be removed in 0.5.0; "
        "it is now training.griffin_lim_iterations"
    )

    def test_is_understood_with_a_warning(self):
        """The old name works with a warning in recipes of either kind and with `--set`."""
        old, new = {"training": {"reconciliations": 7}}, {"training": {"griffin_lim_iterations": 7}}
        for tree, assignments in ((old, ()), ({}, [("training.reconciliations", 7)])):
            draft = read_recipe(tree, Registry(discover=False), assignments=assignments)
            assert draft.recipe.training.griffin_lim_iterations == 7
            assert draft.warnings == (self.WARNING,)
        draft = read_recipe(new, Registry(discover=False), assignments=[("training.reconciliations", 0)])
        assert (draft.recipe.training.griffin_lim_iterations, draft.warnings) == (0, (self.WARNING,))
        assert move_renamed(old) == new | {"loss": {}}

    def test_is_not_set_beside_the_new_one(self):
        """Which of two values was meant is not guessed."""
        tree = {"training": {"reconciliations": 1, "griffin_lim_iterations": 2}}
        problem = "training.reconciliations: is set as training.griffin_lim_iterations too; keep the latter"
        assert problems(tree) == [problem]
        with pytest.raises(ConfigError) as caught:
            move_renamed(tree)
        assert caught.value.problems == (problem,)

    def test_is_checked_as_the_new_one(self):
        """A value that is not allowed is reported at the new address."""
        assert problems({"training": {"reconciliations": -1}}) == [
            "training.griffin_lim_iterations: must be >= 0, got -1"
        ]


def test_the_tree_that_is_read_stays_as_it_is():
    """A caller's data is not changed by old options being moved."""
    tree = {"training": {"free_bits": 0.1}}
    read_recipe(tree, Registry(discover=False))
    assert tree == {"training": {"free_bits": 0.1}}
