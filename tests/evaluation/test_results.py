"""What is counted, averaged and ranked, by numbers made up."""

import attrs
import pytest

from distill.evaluation import Evaluation, Metrics, Result

METRICS = Metrics(
    log_spectral_distance=4.0,
    multi_resolution_stft=1.5,
    snr=0.0,
    si_sdr=-10.0,
    level_difference=-3.0,
    peak=0.5,
    mel=3.0,
    tones=0.5,
    texture=4.0,
    original_texture=6.0,
    zimtohrli=4.0,
    visqol=4.2,
    terms={"stft": 1.0},
)


def evaluation(**changes):
    """Make an evaluation of recordings that differ in some measures, named by letters."""
    count = len(next(iter(changes.values())))
    rows = [{name: values[row] for name, values in changes.items()} for row in range(count)]
    results = [
        Result(name=letter, metrics=attrs.evolve(METRICS, **row))
        for letter, row in zip("abcdef", rows, strict=False)
    ]
    return Evaluation((*results, Result(name="z", metrics=None, left_out="the recording is silent")))


def test_a_measure_is_averaged_over_those_that_have_it():
    """A mean covers the recordings that have the measure, and says how many; without any there is none."""
    some = evaluation(tones=[0.2, None, 0.6], visqol=[None, None, None], zimtohrli=[3.0, 4.0, None])
    assert some.mean.tones == pytest.approx(0.4)
    assert some.mean.visqol is None
    assert some.mean.zimtohrli == pytest.approx(3.5)
    assert some.counts == {"tones": 2, "texture": 3, "zimtohrli": 2, "visqol": 0, "pesq": 0, "stoi": 0}


def test_the_mean_of_metrics():
    """Measures are averaged one by one, terms by name, and the peak is the greatest."""
    some = evaluation(
        mel=[1.0, 2.0, 6.0], peak=[0.1, 1.5, 0.2], terms=[{"stft": 1.0}, {"stft": 2.0}, {"stft": 6.0}]
    )
    mean = attrs.asdict(some.mean)
    assert (mean.pop("mel"), mean.pop("peak"), mean.pop("terms")) == (3.0, 1.5, {"stft": 3.0})
    assert mean == {name: getattr(METRICS, name) for name in mean}


def test_levels_do_not_cancel_out():
    """Opposite level differences cancel in their mean, and not in the mean of their magnitudes."""
    some = evaluation(level_difference=[6.0, -12.0, 6.0])
    assert some.mean.level_difference == 0
    assert some.mean_absolute_level == 8
    assert some.as_json()["worst_level"] == {"name": "b", "level_difference": -12.0}


def test_the_worst_recording_is_that_of_the_lowest_rating():
    """Unrated recordings rank last, and the mel distance decides where Zimtohrli was not asked."""
    rated = evaluation(zimtohrli=[4.0, None, 2.0], mel=[9.0, 8.0, 1.0])
    assert [name for name, _ in rated.ranking] == ["c", "a", "b"]
    assert rated.as_json()["worst"] == {"name": "c", "zimtohrli": 2.0}
    unrated = evaluation(zimtohrli=[None, None, None], mel=[1.0, 9.0, 8.0])
    assert [name for name, _ in unrated.ranking] == ["b", "c", "a"]
    assert unrated.as_json()["worst"] == {"name": "b", "mel": 9.0}


def test_what_is_left_out_has_no_part_in_it():
    """A recording that is left out is counted and listed, and is not in the mean."""
    data = evaluation(mel=[1.0, 2.0]).as_json()
    assert (data["measured"], data["left_out"]) == (2, 1)
    assert [each["name"] for each in data["recordings"]] == ["a", "b", "z"]
    assert data["recordings"][2] == {"name": "z", "metrics": None, "left_out": "the recording is silent"}


def test_nothing_has_no_worst():
    """An evaluation of no recordings has neither a mean nor a worst one."""
    assert Evaluation(()).as_json() == {
        "mean": None,
        "mean_absolute_level": None,
        "frechet": None,
        "frechet_frames": 0,
        "worst": None,
        "worst_level": None,
        "measured": 0,
        "counts": {"tones": 0, "texture": 0, "zimtohrli": 0, "visqol": 0, "pesq": 0, "stoi": 0},
        "left_out": 0,
        "recordings": [],
    }


@pytest.mark.parametrize(("name", "value"), [("mel", float("nan")), ("tones", float("inf"))])
def test_metrics_that_are_not_finite_are_known(name, value):
    """A value that is not finite is noticed in optional measures as in the others."""
    assert METRICS.finite
    assert attrs.evolve(METRICS, tones=None).finite
    assert not attrs.evolve(METRICS, **{name: value}).finite
