"""Tests of `distill recipe`."""

import tomllib

from distill.recipe import DEFAULT_LOSS


def read(result):
    """Read what a command that succeeded printed as TOML."""
    assert (result.status, result.err) == (0, "")
    return tomllib.loads(result.out)


def test_the_whole_recipe_is_printed(distill):
    """The output holds every part of the recipe, with the default terms."""
    tree = read(distill("recipe"))
    assert list(tree) == ["loss", "representation", "model", "corpus", "training", "balancing", "provenance"]
    assert list(tree["loss"]) == list(DEFAULT_LOSS)


def test_terms_and_options_are_those_asked_for(distill):
    """`--loss` chooses terms, also by alias, and `--set` sets their options."""
    tree = read(
        distill("recipe", "--loss", "stft,recon", "--set", "loss.recon.weight=3", "--set", "model.width=9")
    )
    assert list(tree["loss"]) == ["stft", "reconstruction"]
    assert tree["loss"]["reconstruction"]["weight"] == 3.0
    assert tree["model"]["width"] == 9


def test_an_option_of_a_term_does_not_choose_that_term_alone(distill):
    """The default terms stay, whichever of them is given an option."""
    tree = read(distill("recipe", "--set", "loss.kl.weight_max=0.5"))
    assert list(tree["loss"]) == list(DEFAULT_LOSS)
    assert tree["loss"]["kl"]["weight_max"] == 0.5


def test_a_recipe_is_what_config_reads(distill, recordings, tiny, tmp_path):
    """A printed recipe can be trained with, and the recipe of that run is the same again."""
    printed = distill("recipe", "--loss", "kl,recon", *tiny, "--set", "training.steps=1")
    config = tmp_path / "my.toml"
    config.write_text(printed.out)
    result = distill("train", recordings, "--config", config, "--out", tmp_path / "run")
    assert (result.status, result.err) == (0, "")
    used = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert used.pop("corpus") == {**tomllib.loads(printed.out)["corpus"], "path": str(recordings)}
    assert used["provenance"].pop("training.start") == "none"
    # What depends on the start is filled in for a training that begins with nothing.
    filled = {name: used["training"].pop(name) for name in ("learning_rate", "encoder_rate", "speed", "mix")}
    assert filled == {"learning_rate": 1e-3, "encoder_rate": 1.0, "speed": 0.4, "mix": 0.5}
    assert used == {name: table for name, table in tomllib.loads(printed.out).items() if name != "corpus"}


def test_what_does_not_fit_is_reported(distill):
    """The message names all that does not fit, with status 2 and nothing on standard output."""
    result = distill("recipe", "--loss", "kl", "--set", "loss.kl.free_bit=1", "--set", "model.width=1")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: loss.kl.free_bit: unknown option, got 1; did you mean 'free_bits'?\n"
        "model.width: must be >= 8, got 1\n"
    )
