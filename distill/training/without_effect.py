"""Warnings about options of a recipe that change nothing in its run."""

from collections.abc import Iterator

from attrs import evolve

from distill.model import VAE
from distill.recipe import Recipe
from distill.training.starting import Start


def without_effect(recipe: Recipe, model: VAE, begun: Start, *, resumed: bool) -> Iterator[str]:
    """Yield a message for each option that has no effect on a run.

    What only the code of a model depends on is not told of a run that is `resumed`: its code stays as it is,
    and recipes of earlier versions have other numbers.
    """
    if begun.origin == "none" and recipe.training.keep not in (None, 1):
        yield (
            f"training.keep = {recipe.training.keep:g} has no effect: a run that begins with random weights "
            "keeps all of its training."
        )
    if resumed or model.axes is not None:
        return
    # Every recipe has these numbers, also where they were not given.
    rate, n_fft, hop = (getattr(recipe.representation, name) for name in ("sample_rate", "n_fft", "hop"))
    unset = evolve(recipe.model, joint_frames=None, joint_width=None)
    usual = {
        "joint_frames": unset.joint_frames_at(rate, hop),
        "joint_width": unset.joint_width_at(rate, n_fft, hop),
    }
    for name, number in usual.items():
        given = getattr(recipe.model, name)
        if given not in (None, number):
            yield (
                f"model.{name} = {given} has no effect: only a code smaller than the rich one, such as "
                "model.code = compact, codes frames together."
            )
