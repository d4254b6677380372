"""What `structure` accepts, refuses and says, and that `unstructure` goes back."""

import sys
import types
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen, validators

from distill.config import structure, unstructure
from distill.errors import ConfigError


@frozen(kw_only=True)
class Transform:
    """Options that are required, and a rule between them."""

    n_fft: int = field(validator=validators.ge(16))
    hop: int = field(validator=validators.ge(1))

    def __attrs_post_init__(self):
        if self.hop > self.n_fft:
            raise ValueError("hop must be at most n_fft")


@frozen(kw_only=True)
class Weighted:
    """What every term inherits."""

    weight: float = field(default=1.0, validator=[validators.ge(0), validators.lt(float("inf"))])


@frozen(kw_only=True)
class Bands(Weighted):
    """An option of every type."""

    bands: int = 8
    distance: Literal["l1", "l2"] = "l1"
    sizes: tuple[int, ...] = field(default=(512,), validator=validators.deep_iterable(validators.ge(1)))
    points: tuple[tuple[float, float], ...] = ()
    clip: float | None = None
    log: bool = False
    name: str = ""
    folder: Path = Path()
    gains: dict[str, float] = field(factory=dict)
    transform: Transform = Transform(n_fft=1024, hop=256)


Loss = attrs.make_class("Loss", {"bands": attrs.field(type=Bands)}, frozen=True, kw_only=True)


def of_type(type_: Any, **arguments: Any) -> type:
    """Make a class with one option, `x`."""
    return attrs.make_class(
        "OneOption", {"x": attrs.field(type=type_, **arguments)}, frozen=True, kw_only=True
    )


def problems_of(data, cls, at=""):
    """Return the problems that `structure` finds."""
    with pytest.raises(ConfigError) as caught:
        structure(data, cls, at=at)
    return caught.value.problems


def test_every_supported_type_is_read():
    """Plain data becomes the annotated types, through nesting, inheritance and `attrs.make_class`."""
    data = {
        "bands": {
            "weight": 2,
            "bands": 4,
            "distance": "l2",
            "sizes": [512, 1024],
            "points": [[0, 0], [0.5, 1]],
            "clip": 0.5,
            "log": True,
            "name": "mine",
            "folder": "a/b",
            "gains": {"low": 1, "high": 0.5},
            "transform": {"n_fft": 512, "hop": 128},
        }
    }
    read = structure(data, Loss).bands
    assert read == Bands(
        weight=2.0,
        bands=4,
        distance="l2",
        sizes=(512, 1024),
        points=((0.0, 0.0), (0.5, 1.0)),
        clip=0.5,
        log=True,
        name="mine",
        folder=Path("a/b"),
        gains={"low": 1.0, "high": 0.5},
        transform=Transform(n_fft=512, hop=128),
    )
    assert [type(read.weight), type(read.points[0][0]), type(read.gains["low"])] == [float, float, float]


@pytest.mark.parametrize(
    ("type_", "value", "problem"),
    [
        (int, "512", 'expected a whole number, got "512"'),
        (int, 512.9, "expected a whole number, got 512.9"),
        (int, 512.0, "expected a whole number, got 512.0"),
        (int, True, "expected a whole number, got true"),
        (float, "0.5", 'expected a number, got "0.5"'),
        (float, False, "expected a number, got false"),
        (float, float("nan"), "expected a number, got nan"),
        (float, 2**53 + 1, "expected a number, got 9007199254740993"),
        (str, 3, "expected a string, got 3"),
        (bool, 1, "expected true or false, got 1"),
        (bool, "true", 'expected true or false, got "true"'),
        (Path, 3, "expected a path, got 3"),
        (float | None, "0.5", 'expected a number, got "0.5"'),
        (float | None, False, "expected a number, got false"),
        (float, None, "expected a number, got None"),
        (int | str, 0.5, "expected a whole number or a string, got 0.5"),
        (Literal["mean", "sum"], "maen", 'expected one of "mean", "sum", got "maen"; did you mean \'mean\'?'),
        (Literal["a", 1], True, 'expected one of "a", 1, got true'),
        (tuple[int, ...], 512, "expected a list of whole numbers, got 512"),
        (tuple[int, ...], "512", 'expected a list of whole numbers, got "512"'),
        (tuple[float, float], [1.0], "expected a pair of numbers, got [1.0]"),
        (tuple[float, float, float], [], "expected a list of 3 numbers, got []"),
        (tuple[int, str], [1], "expected a list of a whole number, a string, got [1]"),
        (dict[str, int], [1], "expected a table of whole numbers, got [1]"),
        (Transform, 3, "expected a table, got 3"),
        (int, {"a": 1}, "expected a whole number, got a table"),
        (int, "a" * 100, 'expected a whole number, got "' + "a" * 58 + "…"),
    ],
)
def test_nothing_is_coerced(type_, value, problem):
    """A value of another type is refused with its path, itself and what was expected."""
    assert problems_of({"x": value}, of_type(type_)) == (f"x: {problem}",)


@pytest.mark.parametrize(
    ("type_", "value", "problem"),
    [
        (tuple[int, ...], [1, 2.5], "x[1]: expected a whole number, got 2.5"),
        (tuple[tuple[float, float], ...], [[0, 1], [0, "1"]], 'x[1][1]: expected a number, got "1"'),
        (dict[str, int], {"a": 1, "b c": True}, 'x."b c": expected a whole number, got true'),
        (dict[str, Transform], {"a": {"n_fft": 512}}, "x.a.hop: missing, expected a whole number"),
        (Transform | None, {"n_fft": 512}, "x.hop: missing, expected a whole number"),
        (tuple[Transform, ...], [{"n_fft": "1", "hop": 1}], 'x[0].n_fft: expected a whole number, got "1"'),
    ],
)
def test_the_path_leads_to_the_member(type_, value, problem):
    """In lists and tables the path names the very member that does not fit."""
    assert problems_of({"x": value}, of_type(type_)) == (problem,)


def test_every_problem_is_reported_at_once():
    """Unknown options, wrong types, missing options and validators of several fields come in one error."""
    data = {
        "bands": {
            "wieght": 2.0,
            "zzz": {},
            "weight": -1,
            "bands": "512",
            "sizes": [512, 0, 7, -3],
            "transform": {"n_fft": 8, "hop": True},
        }
    }
    options = "weight, bands, distance, sizes, points, clip, log, name, folder, gains, transform"
    lines = (
        "loss.bands.wieght: unknown option, got 2.0; did you mean 'weight'?",
        f"loss.bands.zzz: unknown option, got a table; expected one of {options}",
        'loss.bands.bands: expected a whole number, got "512"',
        "loss.bands.transform.hop: expected a whole number, got true",
        "loss.bands.transform.n_fft: must be >= 16, got 8",
        "loss.bands.weight: must be >= 0, got -1",
        "loss.bands.sizes[1]: must be >= 1, got 0",
        "loss.bands.sizes[3]: must be >= 1, got -3",
    )
    with pytest.raises(ConfigError) as caught:
        structure(data, Loss, at="loss")
    assert caught.value.problems == lines
    assert str(caught.value) == "\n".join(lines)


def _even(_instance, attribute, value):
    if value % 2:
        raise ValueError(f"'{attribute.name}' must be even: {value!r}")


@pytest.mark.parametrize(
    ("validator", "value", "problem"),
    [
        (validators.lt(float("inf")), float("inf"), "must be finite, got inf"),
        (validators.gt(0), 0, "must be > 0, got 0"),
        (validators.in_(["a", "b"]), "c", 'must be one of "a", "b", got "c"'),
        (validators.min_len(2), "a", 'must be of length >= 2, got "a"'),
        (validators.matches_re("[a-z]"), "1", "must match regex '[a-z]', got \"1\""),
        (validators.optional(validators.le(3)), 4, "must be <= 3, got 4"),
        (_even, 3, "must be even, got 3"),
        ([validators.ge(4), _even], 3, "must be >= 4, got 3\nx: must be even, got 3"),
    ],
)
def test_validators_read_well(validator, value, problem):
    """What a validator asks for stands behind the path, with the value as it was written."""
    cls = of_type(type(value), validator=validator)
    assert "\n".join(problems_of({"x": value}, cls)) == f"x: {problem}"


def test_an_optional_validator_lets_none_be():
    """An option that is None by default is no problem beside one that has a problem."""
    optional = validators.optional(validators.ge(1))
    cls = attrs.make_class(
        "Two",
        {"x": attrs.field(type=int | None, default=None, validator=optional), "y": attrs.field(type=int)},
        kw_only=True,
    )
    assert problems_of({"y": "1"}, cls) == ('y: expected a whole number, got "1"',)


def test_a_whole_list_and_its_members_are_validated():
    """The validator of a list and that of its members both have their say."""
    cls = of_type(
        tuple[int, ...],
        validator=validators.deep_iterable(validators.ge(1), validators.min_len(3)),
    )
    assert problems_of({"x": [0, 1]}, cls) == (
        "x: must be of length >= 3, got [0, 1]",
        "x[0]: must be >= 1, got 0",
    )


def test_a_class_level_error_has_the_path_of_the_class():
    """What `__attrs_post_init__` refuses is reported for the class, beside the problems of others."""
    data = {"bands": {"bands": 1.5, "transform": {"n_fft": 64, "hop": 65}}}
    assert problems_of(data, Loss, at="loss") == (
        "loss.bands.bands: expected a whole number, got 1.5",
        "loss.bands.transform: hop must be at most n_fft",
    )
    assert problems_of({"n_fft": 64, "hop": 65}, Transform) == ("hop must be at most n_fft",)


def test_a_type_error_of_the_class_is_not_the_users():
    """A TypeError that no validator raised is a fault in the class and keeps its traceback."""

    @frozen(kw_only=True)
    class Broken:
        x: int = 1

        def __attrs_post_init__(self):
            len(self.x)

    with pytest.raises(TypeError, match="has no len"):
        structure({}, Broken)


@frozen(kw_only=True)
class Span:
    """A validator of one option that looks at another."""

    low: int = 2
    high: int = field(default=8)

    @high.validator
    def _above_low(self, attribute, value):
        if value <= self.low:
            raise ValueError(f"'{attribute.name}' must be above low: {value!r}")


def test_a_validator_sees_the_other_options():
    """A validator that compares options has them, and is passed over when the other has a problem."""
    assert problems_of({"low": 9}, Span) == ("high: must be above low, got 8",)
    assert problems_of({"low": "9", "high": 1}, Span) == ('low: expected a whole number, got "9"',)


def test_a_missing_option_is_named():
    """An option without default that is left out is reported with what was expected."""
    assert problems_of({"n_fft": 64}, Transform, at="view") == ("view.hop: missing, expected a whole number",)


def test_a_class_without_options_says_so():
    """Where there is nothing to suggest nor to list, the error says that there are no options."""
    assert problems_of({"a": 1}, attrs.make_class("Empty", {})) == (
        "a: unknown option, got 1; there are none here",
    )


def test_a_table_changes_a_default_instance_in_part():
    """Options left out of a nested table keep what the default instance has, required ones too."""
    read = structure({"bands": {"transform": {"n_fft": 512}}}, Loss)
    assert read.bands.transform == Transform(n_fft=512, hop=256)


def test_what_a_default_derived_is_derived_anew():
    """A default computed from other options follows them, unless the default instance had set it."""

    @frozen(kw_only=True)
    class Windowed:
        n_fft: int
        window: int = field(default=attrs.Factory(lambda self: self.n_fft, takes_self=True))

    assert structure({"x": {"n_fft": 512}}, of_type(Windowed, default=Windowed(n_fft=1024))).x.window == 512
    fixed = of_type(Windowed, default=Windowed(n_fft=1024, window=300))
    assert structure({"x": {"n_fft": 512}}, fixed).x.window == 300
    assert problems_of({}, Windowed) == ("n_fft: missing, expected a whole number",)


def test_an_instance_is_taken_as_it_is():
    """From Python an option may be given as an instance of its class, and None where that is allowed."""
    given = Transform(n_fft=32, hop=8)
    read = structure({"bands": {"transform": given, "clip": None, "sizes": (7,)}}, Loss)
    assert read.bands.transform is given
    assert read.bands.clip is None
    assert read.bands.sizes == (7,)


def test_a_converter_runs_before_its_validator():
    """A field with a converter of its own is validated as converted, by attrs itself."""
    cls = of_type(int, converter=abs, validator=validators.ge(1))
    assert structure({"x": -3}, cls).x == 3
    assert problems_of({"x": 0}, cls) == ("'x' must be >= 1: 0",)


def test_string_annotations_are_resolved(monkeypatch):
    """A module with postponed annotations works, and so does a subclass of its class elsewhere."""
    module = types.ModuleType("postponed_config")
    monkeypatch.setitem(sys.modules, "postponed_config", module)
    source = """
from __future__ import annotations
from attrs import frozen
@frozen(kw_only=True)
class Grid:
    size: int = 4
@frozen(kw_only=True)
class Config:
    bands: int = 8
    grid: Grid = Grid(size=2)
"""
    exec(source, vars(module))  # noqa: S102 - a module needs the postponed annotations, this file must not

    @frozen(kw_only=True)
    class Sub(module.Config):
        extra: float = 0.0

    assert structure({"grid": {"size": 3}, "extra": 1}, Sub) == Sub(grid=module.Grid(size=3), extra=1.0)
    assert problems_of({"bands": "8"}, module.Config) == ('bands: expected a whole number, got "8"',)


def test_an_annotation_that_cannot_be_resolved_is_named():
    """A name imported only for type checkers is reported with its class and the remedy."""
    cls = frozen(type("Lost", (), {"__annotations__": {"x": "Nowhere"}, "__module__": __name__}))
    with pytest.raises(ConfigError) as caught:
        structure({}, cls)
    assert str(caught.value) == (
        f"{__name__}.Lost: an annotation cannot be resolved: name 'Nowhere' is not defined\n"
        "Its author can import the name at run time, not only under TYPE_CHECKING."
    )


@pytest.mark.parametrize("type_", [set[int], dict[int, str], list[int], object])
def test_an_annotation_that_toml_cannot_fill_is_refused(type_):
    """An unsupported annotation is an error that names the option, even when the option is not given."""
    with pytest.raises(ConfigError) as caught:
        structure({}, of_type(type_, default=None))
    assert caught.value.culprit == f"{__name__}.OneOption.x"
    assert caught.value.problem == f"an option cannot be annotated {type_!r}"
    assert "int, float, str, bool" in caught.value.remedy


def test_unstructure_gives_plain_toml_types():
    """Tuples become lists, paths strings, classes tables; None is left out."""
    assert unstructure(Bands(points=((0.0, 1.0),), folder=Path("a"), gains={"low": 2.0})) == {
        "weight": 1.0,
        "bands": 8,
        "distance": "l1",
        "sizes": [512],
        "points": [[0.0, 1.0]],
        "log": False,
        "name": "",
        "folder": "a",
        "gains": {"low": 2.0},
        "transform": {"n_fft": 1024, "hop": 256},
    }


def test_a_none_that_toml_would_lose_is_refused():
    """None where the default is something else cannot be left out without changing its meaning."""
    nested = of_type(of_type(float | None, default=0.5))
    inner = attrs.fields(nested).x.type
    with pytest.raises(ConfigError) as caught:
        unstructure(nested(x=inner(x=None)))
    assert str(caught.value) == (
        "x.x: None cannot be written as TOML, and leaving it out means 0.5\n"
        "Its author can make None the default."
    )
