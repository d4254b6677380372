"""Tests of the answers of listening tests: what they show, and that nothing wrong is believed."""

import json

import pytest

from distill.comparison.answers import read_answers
from distill.comparison.listening import results_of
from distill.errors import InputError

MODELS = {"a" * 64: "first", "b" * 64: "second"}
SYSTEMS = {
    "run-0": {"name": "first", "model": "a" * 64},
    "run-1": {"name": "second", "model": "b" * 64},
}


def abx(right, trials, listener="Ann", session="0" * 32, **changed):
    """Return the content of a file of an ABX test."""
    lines = [
        {"recording": "a.wav", "a": "run-0", "b": "run-1", "x": "run-1",
         "answer": "run-1" if number < right else "run-0"}
        for number in range(trials)
    ]  # fmt: skip
    return {
        "format": 1, "test": "abx", "session": session, "listener": listener, "seed": 1, "planned": trials,
        "systems": SYSTEMS, "abx": lines, **changed,
    }  # fmt: skip


def mushra(scores, listener, session):
    """Return the content of a file of a MUSHRA test, of scores by recording."""
    lines = [
        {
            "recording": name,
            "scores": dict(zip(("original", "run-0", "run-1", "anchor-7"), each, strict=True)),
        }
        for name, each in scores.items()
    ]
    return {
        "format": 1, "test": "mushra", "session": session * 32, "listener": listener, "seed": 1,
        "planned": len(lines), "systems": SYSTEMS, "mushra": lines,
    }  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Return a function that writes files, reads them back, and returns what they show."""

    def read(*contents):
        files = [tmp_path / f"{number}.json" for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        return results_of(read_answers(files), MODELS)

    return read


def test_an_abx_test_is_tested_against_chance(results, stats):
    """The answers of all listeners together, and of each, are tested against chance."""
    found = results(abx(9, 10), abx(5, 10, "Bo", "1" * 32))
    told = [(each.listener, each.right, each.trials) for each in found.abx]
    assert told == [("", 14, 20), ("Ann", 9, 10), ("Bo", 5, 10)]
    assert found.abx[0].pair == ("first", "second")
    assert found.abx[1].chance == pytest.approx(stats.binomtest(9, 10, alternative="greater").pvalue)
    assert len(results(abx(9, 10)).abx) == 1


def test_scores_are_means_with_intervals(results, stats):
    """Scores have Student's t intervals, differences are paired, and unreliable listeners are left out."""
    ann = {"a": (100, 60, 80, 40), "b": (95, 50, 75, 30)}
    bo = {"a": (90, 70, 85, 50), "b": (100, 60, 84, 20)}
    deaf = {"a": (80, 100, 0, 0), "b": (100, 100, 0, 0)}
    fond = {"a": (100, 100, 0, 95), "b": (100, 100, 0, 0)}
    found = results(
        mushra(ann, "Ann", "0"), mushra(bo, "Bo", "1"), mushra(deaf, "Cy", "2"), mushra(fond, "Di", "3")
    )
    assert found.listeners == 2
    assert found.excluded == (
        ("Cy", "rated the hidden reference below 90 in 1 of 2 trials"),
        ("Di", "rated the anchor of 7 kHz above 90 in 1 of 2 trials"),
    )
    assert [each.system for each in found.mushra] == ["original", "first", "second", "anchor, 7 kHz"]
    first, second = found.mushra[1:3]
    reach = stats.t.ppf(0.975, 3) * stats.tstd([60, 50, 70, 60]) / 2
    assert (first.score.mean, first.count, first.difference) == (60, 4, None)
    assert [first.score.low, first.score.high] == pytest.approx([60 - reach, 60 + reach])
    assert second.difference.mean == pytest.approx((20 + 25 + 15 + 24) / 4)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_single_rating_has_no_interval(results):
    """The interval of a single rating has null for its ends in JSON."""
    found = results(mushra({"a": (100, 60, 80, 40)}, "Ann", "0")).to_dict()
    assert found["mushra"]["systems"][1]["low"] is None


TRIAL = ("recording", "a", "b", "x", "answer")
WRONG = {
    "cut": (json.dumps(abx(9, 10))[:-9], "is not JSON, or is cut short"),
    "deep": ("[" * 100_000, "is not JSON, or is cut short"),
    "list": ([], "holds no answers of a listening test"),
    "unknown": (abx(9, 10, extra=1), "extra: unknown option"),
    "version": (abx(9, 10, format=2), "format: "),
    "early": (abx(9, 9, planned=10), "has 9 of 10 trials; a test that ends early, when"),
    "other": (abx(9, 10, test="mushra"), "has trials of another test than mushra"),
    "name": (abx(9, 10, listener=""), "listener: "),
    "same": (abx(1, 1, abx=[dict.fromkeys(TRIAL, "run-0")]), "compares 'run-0' with"),
    "neither": (
        abx(1, 1, abx=[{"recording": "", "a": "run-0", "b": "run-1", "x": "run-0", "answer": "original"}]),
        "has a trial whose X or answer is neither A nor B",
    ),
    "score": (mushra({"a": (101, 1, 1, 1)}, "Ann", "0"), "has a score that is not from 0 to 100"),
    "itself": (
        abx(9, 10, systems=SYSTEMS | {"run-1": {"name": "copy", "model": "a" * 64}}),
        "compares a model with itself",
    ),
    "original": (
        mushra({"a": (100, 1, 1, 1)}, "Ann", "0") | {"systems": SYSTEMS | {"original": SYSTEMS["run-0"]}},
        "has a run in the place of the original",
    ),
    "fraction": (mushra({"a": (100, 1.5, 1, 1)}, "Ann", "0"), "mushra"),
    "stranger": (
        abx(9, 10, systems=SYSTEMS | {"run-1": {"name": "x\x1b", "model": "c" * 64}}),
        "are of a run that is not compared, x\N{REPLACEMENT CHARACTER}, or of an earlier model of it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_file_of_answers_is_one_message(results, wrong):
    """It names the file, and what is wrong."""
    content, message = WRONG[wrong]
    with pytest.raises(InputError) as caught:
        results(content)
    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_names_may_be_as_long_as_paths(results):
    """A finished test is not refused for the names of its runs and recordings, which are paths."""
    long = f"{'x' * 255}/{'y' * 255}"
    trial = {"recording": f"{long}.wav", "a": "run-0", "b": "run-1", "x": "run-1", "answer": "run-1"}
    systems = {key: system | {"name": f"{long}/{key}"} for key, system in SYSTEMS.items()}
    (found,) = results(abx(1, 1, systems=systems, abx=[trial])).abx
    assert (found.right, found.trials) == (1, 1)


def test_a_session_counts_once(results, tmp_path):
    """A session that two files hold is refused, and so is a file that is missing or too large."""
    with pytest.raises(InputError) as caught:
        results(abx(9, 10), abx(9, 10))
    assert str(caught.value) == (
        f"{tmp_path / '1.json'}: holds the answers of a session that another file holds, too\n"
        "Pass files as the page of a comparison saves them."
    )
    with pytest.raises(InputError, match="it is larger than 1 MiB"):
        results(" " * 2**21)
    with pytest.raises(InputError, match="there is no such file"):
        read_answers([tmp_path / "gone"])
    with pytest.raises(InputError, match="it is not an ordinary file"):
        read_answers([tmp_path])
