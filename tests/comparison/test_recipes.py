"""Tests of the differences between recipes."""

from distill.comparison.recipes import recipe_differences


def told(*trees):
    """Return the differences as pairs."""
    return [(each.address, each.values) for each in recipe_differences(trees)]


def test_options_that_differ_have_their_addresses():
    """Options that differ are listed by their `--set` addresses; equal ones are left out."""
    one = {"loss": {"stft": {"weight": 1.0, "fft_sizes": [512]}}, "training": {"seed": 0, "steps": 5}}
    other = {"loss": {"stft": {"weight": 2.0, "fft_sizes": [512]}}, "training": {"seed": 0}}
    assert told(one, other) == [("loss.stft.weight", ("1.0", "2.0")), ("training.steps", ("5", None))]
    assert told(one, one) == []


def test_a_term_that_a_run_lacks_is_one_difference():
    """Its options count only between the runs that have it; the provenance comes last."""
    one, other = ({"weight": weight, "per_example": False} for weight in (1.0, 4.0))
    terms = [{"stft": one}, {}, {"stft": other}]
    trees = [
        {"provenance": {"stft": "distill 0.2.0", "torch": str(number)} if loss else {}, "loss": loss}
        for number, loss in enumerate(terms)
    ]
    assert told(*trees) == [
        ("loss.stft", ("used", None, "used")),
        ("loss.stft.weight", ("1.0", None, "4.0")),
        ("provenance.torch", ("0", None, "2")),
    ]


def test_the_provenance_of_a_term_with_a_longer_name_is_told():
    """A term whose name begins with that of a term which some runs lack is not mistaken for it."""
    one, other = (
        {"loss": loss, "provenance": dict.fromkeys(loss, f"distill 0.{version}.0")}
        for version, loss in ((1, {"mel": {}, "mel_fine": {}}), (2, {"mel_fine": {}}))
    )
    assert told(one, other) == [
        ("loss.mel", ("used", None)),
        ("provenance.mel_fine", ("distill 0.1.0", "distill 0.2.0")),
    ]


def test_names_that_are_no_words_are_quoted():
    """Names that are not plain words are quoted, whatever they hold."""
    hostile = "</script>.x"
    assert told({"a": {hostile: 1}}, {"a": {hostile: 2}}) == [('a."</script>.x"', ("1", "2"))]


def test_a_number_that_python_does_not_print_has_a_text():
    """A hexadecimal number in TOML that is too long for Python to print is shown as a text."""
    assert told({"a": 16**6000}, {"a": 1}) == [("a", ("a number of about 7225 digits", "1"))]
