"""Tests of distill.config.settings: what fits by itself and what must fit together."""

import pytest

from distill.config import describe, structure
from distill.config.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.errors import ConfigError


def problem(cls, **options):
    """Return what is said of options that do not fit."""
    with pytest.raises(ConfigError) as caught:
        structure(options, cls, at="here")
    return str(caught.value)


@pytest.mark.parametrize("cls", [RepresentationSettings, ModelSettings, CorpusSettings, TrainingSettings])
def test_the_defaults_fit(cls):
    """No option has to be given."""
    assert structure({}, cls) == cls()


@pytest.mark.parametrize(("n_fft", "hop"), [(255, 64), (256, 129), (257, 300)])
def test_frames_overlap_by_half_at_least(n_fft, hop):
    """An odd frame, or a hop of more than half a frame, cannot be inverted; both values are shown."""
    assert problem(RepresentationSettings, n_fft=n_fft, hop=hop) == (
        f"here: n_fft must be even and at least twice the hop: n_fft = {n_fft}, hop = {hop}"
    )


def test_a_hop_of_half_a_frame_is_enough():
    """The bound itself is allowed."""
    assert structure({"n_fft": 256, "hop": 128}, RepresentationSettings).hop == 128


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sample_rate": 999}, "here.sample_rate: must be >= 1000, got 999"),
        ({"n_fft": 14, "hop": 7}, "here.n_fft: must be >= 16, got 14"),
        ({"hop": 0}, "here.hop: must be >= 1, got 0"),
        ({"floor": 0.0}, "here.floor: must be >= 1e-12, got 0.0"),
        ({"floor": float("inf")}, "here.floor: must be <= 1.0, got inf"),
        ({"hop": 64.0}, "here.hop: expected a whole number, got 64.0"),
    ],
)
def test_bounds_of_the_representation(options, expected):
    """Each option by itself has bounds and a type, and is never rounded into them."""
    assert problem(RepresentationSettings, **options) == expected


@pytest.mark.parametrize("name", ["encoder_blocks", "decoder_blocks"])
@pytest.mark.parametrize("blocks", [[], [1], [1, 2, 3], [1, -1], [1, 10**9]])
def test_blocks_are_counts(name, blocks):
    """There are two grids, and none has less than no blocks."""
    assert problem(ModelSettings, **{name: blocks}) == (
        f"here.{name}: must hold two counts of blocks, 0 to 64, of the fine and of the coarse grid, "
        f"got {blocks}"
    )


def test_a_grid_may_have_no_blocks():
    """The bound itself is allowed."""
    assert structure({"encoder_blocks": [0, 0]}, ModelSettings).encoder_blocks == (0, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"latents_per_second": 0}, "here.latents_per_second: must be >= 1, got 0"),
        ({"width": 7}, "here.width: must be >= 8, got 7"),
        ({"fine_width": 7}, "here.fine_width: must be >= 8, got 7"),
        ({"expansion": 0}, "here.expansion: must be >= 1, got 0"),
        (
            {"code": "compat"},
            'here.code: expected one of "rich", "compact", got "compat"; did you mean \'compact\'?',
        ),
    ],
)
def test_bounds_of_the_model(options, expected):
    """Each size has a least one, and there are two codes."""
    assert problem(ModelSettings, **options) == expected


def test_steps_and_minutes_exclude_each_other():
    """A training ends once; which of the two was meant is not guessed."""
    assert problem(TrainingSettings, minutes=1.5, steps=3) == (
        "here: set either minutes or steps, not both: 1.5 and 3"
    )


@pytest.mark.parametrize(
    ("given", "minutes"),
    [({}, 10.0), ({"minutes": 1.5}, 1.5), ({"minutes": 1e-6}, 1e-6), ({"steps": 3}, None)],
)
def test_a_training_of_no_set_length_lasts_ten_minutes(given, minutes):
    """The settled settings, which are what a run's recipe holds, say how long."""
    settings = structure(given, TrainingSettings)
    assert settings.time_limit == minutes
    assert settings.settled(begun=False).minutes == minutes
    assert settings.settled(begun=True).steps == given.get("steps")


def test_what_is_unset_depends_on_what_the_training_begins_with():
    """A model that knows sounds learns more slowly, from clips as they are, and keeps its encoder."""
    begun, from_nothing = (TrainingSettings().settled(begun=begun) for begun in (True, False))
    assert (begun.learning_rate, begun.encoder_rate, begun.speed, begun.mix) == (3e-4, 0.0, 0.0, 0.0)
    assert (from_nothing.learning_rate, from_nothing.encoder_rate) == (1e-3, 1.0)
    assert (from_nothing.speed, from_nothing.mix) == (0.4, 0.5)
    new_code = TrainingSettings().settled(begun=True, new_code=True)
    assert (new_code.learning_rate, new_code.encoder_rate, new_code.speed, new_code.mix) == (
        3e-4,
        0,
        0.4,
        0.5,
    )


def test_what_is_set_stays():
    """Values that are set are kept, 0 among them."""
    given = TrainingSettings(learning_rate=0.5, encoder_rate=0.0, speed=0.0, mix=1.0, steps=1)
    assert given.settled(begun=False) == given


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 0}, "here.steps: must be >= 1, got 0"),
        ({"minutes": 0}, "here.minutes: must be > 0, got 0"),
        ({"seed": -1}, "here.seed: must be >= 0, got -1"),
        ({"seed": 2**63}, f"here.seed: expected a whole number of 64 bits, got {2**63}"),
        ({"batch_size": 0}, "here.batch_size: must be >= 1, got 0"),
        ({"learning_rate": 0}, "here.learning_rate: must be > 0, got 0"),
        ({"weight_decay": -0.1}, "here.weight_decay: must be >= 0, got -0.1"),
        (
            {"device": "cua"},
            'here.device: expected one of "auto", "cpu", "cuda", "mps", got "cua"; did you mean \'cuda\'?',
        ),
    ],
)
def test_bounds_of_the_training(options, expected):
    """What would train nothing, or for ever, or diverge at once, is refused before anything starts."""
    assert problem(TrainingSettings, **options) == expected


@pytest.mark.parametrize("cls", [RepresentationSettings, ModelSettings, CorpusSettings, TrainingSettings])
def test_every_number_has_an_upper_bound(cls):
    """No recipe, perhaps of a stranger, asks for memory or time without measure by one number."""
    for option in describe(cls):
        numbers = {"whole number": [2**62, 2**63, 10**5000], "number": [1e300, float("inf"), float("nan")]}
        numbers["list of whole numbers"] = [[2**62], [2**62] * 2, [1] * 1000]
        for value in numbers.get(option.type, []):
            if (option.name, value) != ("seed", 2**62):  # any seed is as good as another
                message = problem(cls, **{option.name: value})
                assert message.startswith(f"here.{option.name}"), message
                assert len(message) < 300


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_fft": 2**30}, f"here.n_fft: must be <= 65536, got {2**30}"),
        ({"n_fft": 65536}, "here: n_fft must be at most 64 times the hop: n_fft = 65536, hop = 512"),
        (
            {"n_fft": 65536, "hop": 16383},
            (
                "here: n_fft above 8192 must share a larger factor with the hop, such as a power of 2: "
                "n_fft = 65536, hop = 16383"
            ),
        ),
        ({"sample_rate": 48_000_000}, "here.sample_rate: must be <= 768000, got 48000000"),
    ],
)
def test_a_representation_of_endless_size_is_refused(options, expected):
    """Each number may be allowed, and all of them together still take too much."""
    assert problem(RepresentationSettings, **options) == expected


def test_the_largest_frames_are_allowed():
    """The bounds themselves are within the bounds."""
    read = structure({"n_fft": 8192, "hop": 4095, "sample_rate": 768_000}, RepresentationSettings)
    assert (read.n_fft, structure({"n_fft": 65536, "hop": 1024}, RepresentationSettings).hop) == (8192, 1024)


@pytest.mark.parametrize("place", ["", "  ", "a\0b"])
def test_a_place_has_a_name(place):
    """An empty place is refused, and so is one with a zero byte."""
    said = 'must be the name of a file or folder, or a URL, got "'
    assert problem(CorpusSettings, path=place).startswith(f"here.path: {said}")
    assert problem(TrainingSettings, start=place).startswith(f"here.start: {said}")


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5])
def test_something_is_left_to_train_on(fraction):
    """All recordings cannot be held out."""
    assert problem(CorpusSettings, heldout_fraction=fraction).startswith("here.heldout_fraction: must be ")
