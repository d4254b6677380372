"""Sounds of the page as values that say how to make them again, on the page and in a file."""

from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeAlias

from attrs import evolve, field, frozen

from distill.config.settings import MOST_SEED

SHORTEST, LONGEST = 0.05, 60.0
"""Bounds of the length of a sound of the page, in seconds."""

MOST_NESTED = 32
"""How many variations of variations a preset may have: each is made by way of the one before."""

_LONGEST_NAME, _FARTHEST = 4096, 1000.0


@frozen(kw_only=True)
class Random:
    """A new sound, drawn with a seed."""

    seed: int

    def __str__(self) -> str:
        return f"Random {self.seed}"


@frozen(kw_only=True)
class Recording:
    """A recording of the run as the model makes it, or a file of one's own, which `own` is the digest of."""

    name: str
    own: str = ""

    def __str__(self) -> str:
        return self.name


@frozen(kw_only=True)
class Between:
    """A sound between two recordings: 0 is the first one, 1 the second."""

    first: Recording
    second: Recording
    position: float

    def __str__(self) -> str:
        return f"{self.first} → {self.second}, {self.position:.0%}"


@frozen(kw_only=True)
class Near:
    """A variation of another sound, by an amount, drawn with a seed."""

    origin: "Source"
    amount: float
    seed: int

    def __str__(self) -> str:
        step = f"{self.amount:.0%} ({self.seed})"
        return f"{self.origin}, {step}" if isinstance(self.origin, Near) else f"{self.origin}, varied {step}"

    @property
    def nested(self) -> int:
        """The number of variations of variations."""
        return 1 + self.origin.nested if isinstance(self.origin, Near) else 1


Source: TypeAlias = Random | Recording | Between | Near


def _sorted(axes: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(axes))


@frozen(kw_only=True)
class Sound:
    """How a sound is made: its source, its length in seconds if it is set, and shifts along axes by name."""

    source: Source
    seconds: float | None = None
    axes: tuple[tuple[str, float], ...] = field(default=(), converter=_sorted)

    def __str__(self) -> str:
        return ", ".join([str(self.source), *(f"{name} {value:+g}" for name, value in self.axes)])

    def along(self, axis: str, value: float) -> Self:
        """Return the sound with another shift along an axis."""
        axes = {**dict(self.axes), axis: value}
        return evolve(self, axes=tuple((name, shift) for name, shift in axes.items() if shift))

    @property
    def owns(self) -> tuple[str, ...]:
        """The names of files of one's own that the sound needs."""
        return tuple(each.name for each in recordings_of(self.source) if each.own)

    def to_tree(self) -> dict[str, Any]:
        """Return the sound as plain data, which `from_tree` reads."""
        tree = {**_source_tree(self.source), "axes": dict(self.axes)}
        return tree if self.seconds is None else {**tree, "seconds": self.seconds}

    @classmethod
    def from_tree(cls, tree: object) -> Self:
        """Return the sound of plain data, after checking it.

        Raises:
            ValueError: it is not a sound.
        """
        if not isinstance(tree, Mapping):
            raise ValueError(f"expected a sound, got a {type(tree).__name__}")  # noqa: TRY004  # of a file
        axes, seconds = (tree.get(key) for key in ("axes", "seconds"))
        if not isinstance(axes, Mapping):
            raise ValueError("expected axes by name")  # noqa: TRY004  # of a file
        return cls(
            source=_source_of(tree),
            seconds=None if seconds is None else number(seconds, SHORTEST, LONGEST),
            axes=tuple((_name(name), number(shift, -_FARTHEST, _FARTHEST)) for name, shift in axes.items()),
        )


def recordings_of(source: Source) -> tuple[Recording, ...]:
    """Return the recordings that a source names."""
    match source:
        case Recording():
            return (source,)
        case Between(first=first, second=second):
            return first, second
        case Near(origin=origin):
            return recordings_of(origin)
    return ()


def number(value: object, least: float, most: float) -> float:
    """Return a number within bounds.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"expected a number within {least:g}..{most:g}, got {value!r:.50}")
    return float(value)


def seed_like(value: object) -> int:
    """Return a random seed.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, float) and value.is_integer():  # as a browser sends it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_SEED:
        raise ValueError(f"expected a whole number from 0 to {MOST_SEED}, got {value!r:.50}")
    return value


def _source_tree(source: Source) -> dict[str, Any]:
    match source:
        case Random(seed=seed):
            return {"random": seed}
        case Recording(name=name):
            return {"recording": name}
        case Between(first=first, second=second, position=position):
            return {"between": [first.name, second.name, position]}
        case Near(origin=origin, amount=amount, seed=seed):
            return {"near": [_source_tree(origin), amount, seed]}


def _source_of(tree: object, nested: int = 0) -> Source:
    """Return the source of plain data, after checking it.

    Raises:
        ValueError: it is not a source.
    """
    if not isinstance(tree, Mapping):
        raise ValueError(f"expected a sound, got a {type(tree).__name__}")  # noqa: TRY004  # of a file
    if nested > MOST_NESTED:
        raise ValueError(f"expected at most {MOST_NESTED} variations of variations")
    kinds = [key for key in ("random", "recording", "between", "near") if key in tree]
    if len(kinds) != 1:
        raise ValueError("expected one of random, recording, between and near")
    (kind,) = kinds
    value = tree[kind]
    if kind == "random":
        return Random(seed=seed_like(value))
    if kind == "recording":
        return Recording(name=_name(value))
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"expected three values for {kind}")
    if kind == "between":
        first, second = (Recording(name=_name(each)) for each in value[:2])
        return Between(first=first, second=second, position=number(value[2], 0, 1))
    origin = _source_of(value[0], nested + 1)
    return Near(origin=origin, amount=number(value[1], 0, 1), seed=seed_like(value[2]))


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise ValueError(f"expected a name, got {value!r:.50}")
    if value.encode(errors="replace").decode() != value:  # half a surrogate pair, which JSON can hold
        raise ValueError(f"expected a name that is text, got {value!r:.50}")
    return value
