"""The axes along which sounds can be moved, each measured on generated sounds.

Shapes: `C` channels, `N` samples, `D` numbers per latent frame, `A` axes.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

import torch
from attrs import field, frozen
from torch import Tensor

from distill.arguments import finite_number
from distill.audio.progress import Progress
from distill.config.words import suggest, whole_percentage
from distill.controls.descriptors import DESCRIPTORS, Descriptor, describe
from distill.controls.directions import MOST_AXES, Directions, find_directions
from distill.controls.steering import SHAPED, Decoded, shaped, sound_of
from distill.errors import InputError, check_all
from distill.model.sounds import Encoded, bank_statistics, draw
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

FOLLOWS = 0.7
"""The correlation with a descriptor from which an axis is named by it."""

_SEEDS, _SECONDS = 4, 1.0
_STEPS = (-2.0, -1.0, 1.0, 2.0)
_FARTHEST = 3.0
"""Sounds of a second from so many seeds are measured at these positions, in standard deviations."""

_ASKED: Mapping[str, Sequence[float]] = {
    "brightness": (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
    "noisiness": (-6.0, -3.0, 3.0, 6.0),
    "attack": (-2.0, -1.0, 1.0, 2.0),
    "loudness": (-24.0, 12.0),
}
_LEAST_SHARE = 0.5
"""Descriptors are measured at these differences. One counts as reached if at least this share of it is."""


@frozen(kw_only=True)
class Axis:
    """An axis along which sounds are moved, and what a step along it changes, measured on generated sounds.

    Attributes:
        name: a descriptor, such as `brightness`, or `axis 1` etc. for the principal axes of the latents.
        unit: the unit of `effect`; empty if no descriptor follows the axis.
        effect: the change of the descriptor per step. A step is one unit of a descriptor, and one standard
            deviation of the recordings along a principal axis.
        correlation: Pearson's correlation between the position and the descriptor that follows the axis, or
            the descriptor nearest to that, over sounds that differ in the position only.
        description: what the axis changes, in words.
        lowest: the smallest position that any of the measured sounds follows.
        highest: the largest one.
    """

    name: str
    unit: str
    effect: float
    correlation: float
    description: str
    lowest: float = field(default=-_FARTHEST)
    highest: float = field(default=_FARTHEST)


@frozen(kw_only=True, eq=False)
class Axes:
    """The axes of a run, and the directions that they move along."""

    axes: tuple[Axis, ...]
    directions: Directions


@torch.no_grad()
def measure_axes(
    vae: VAE,
    representation: MagnitudeIF,
    bank: Sequence[Encoded],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Axes:
    """Find the axes of a run's latents, and measure them on generated sounds of a second.

    `on_progress` is called with the number of sounds that were measured, pieces of recordings and then moves
    of the generated ones. How many of these there are is known after the pieces: until then, the total is the
    largest possible.
    """
    pieces, most = 0, sum(map(len, _ASKED.values())) + MOST_AXES * len(_STEPS)

    def tell_piece(done: int, total: int) -> None:
        nonlocal pieces
        pieces = total
        on_progress(Progress(stage="axes", done=done, total=total + most))

    directions = find_directions(vae, representation, bank, tell_piece)
    moving = [each for each in DESCRIPTORS.values() if _moves(each.name, directions)]
    moves = sum(len(_ASKED[each.name]) for each in moving) + len(_STEPS) * len(directions.shares)
    measured = itertools.count(pieces)

    def tell() -> None:
        on_progress(Progress(stage="axes", done=next(measured), total=pieces + moves))

    sounds = [_Centre(vae, representation, each, directions) for each in _drawn(vae, representation, bank)]

    def differences(name: str, positions: Sequence[float]) -> dict[str, Tensor]:
        """Return the changes `[seeds, positions]` of each descriptor."""
        changes = []
        for position in positions:
            tell()
            changes.append([sound.change(name, position) for sound in sounds])
        return {
            each: torch.tensor([[one[each] for one in row] for row in changes]).double().T
            for each in DESCRIPTORS
        }

    named = [_named(each, differences) for each in moving]
    principal = [
        _principal(f"axis {number}", float(share), differences)
        for number, share in enumerate(directions.shares, 1)
    ]
    tell()
    return Axes(axes=(*(axis for axis in named if axis), *principal), directions=directions)


def _drawn(vae: VAE, representation: MagnitudeIF, bank: Sequence[Encoded]) -> Iterator[Decoded]:
    """Yield the sounds, of one channel, on which axes are measured."""
    statistics = bank_statistics(vae, representation, bank)
    for seed in range(_SEEDS):
        generator = torch.Generator().manual_seed(seed)
        drawn, samples = draw(vae, representation, bank, statistics, generator=generator, seconds=_SECONDS)
        mono = Encoded.mono(drawn.latents[0], representation.bins, contrast=drawn.contrast)
        yield Decoded.of(vae, representation, mono, samples)


class _Centre:
    """A generated sound that is moved along axes, and its descriptors."""

    def __init__(self, vae: VAE, representation: MagnitudeIF, sound: Decoded, directions: Directions) -> None:
        self._vae, self._representation, self._directions = vae, representation, directions
        self._sound = sound
        self._waveform = self._made({})
        self._descriptors = describe(self._waveform, representation.sample_rate)

    def _made(self, values: Mapping[str, float]) -> Tensor:
        return sound_of(self._vae, self._representation, self._sound, self._directions, values)

    def change(self, axis: str, position: float) -> dict[str, float]:
        """Return the change of each descriptor if the sound is moved."""
        rate, values = self._representation.sample_rate, {axis: position}
        made = shaped(self._waveform, rate, values) if axis in SHAPED else self._made(values)
        after = describe(made, rate)
        return {name: value - self._descriptors[name] for name, value in after.items()}


def _moves(name: str, directions: Directions) -> bool:
    missing = {"brightness": directions.tilt, "noisiness": directions.noisy}
    return name not in missing or missing[name] is not None


_Differences = Callable[[str, Sequence[float]], dict[str, Tensor]]


def _named(descriptor: Descriptor, differences: _Differences) -> Axis | None:
    """Return the axis of a descriptor, or None if sounds do not follow it."""
    asked = _ASKED[descriptor.name]
    got = differences(descriptor.name, asked)[descriptor.name]
    shares = got / torch.tensor(asked, dtype=torch.float64)
    lowest, highest = _range(asked, shares.mean(0))
    if lowest == highest:
        return None
    within = [lowest <= each <= highest for each in asked]
    slope, correlation = _line(
        [position for position, kept in zip(asked, within, strict=True) if kept], got[:, within]
    )
    if correlation < FOLLOWS:
        return None
    farthest = _range(asked, shares.amax(0))
    text = f"{descriptor.name}: {slope:+z.2f} {descriptor.unit} per step"
    if farthest != (lowest, highest):
        text += f"; beyond {lowest:g}..{highest:g} not every sound follows"
    return Axis(
        name=descriptor.name,
        unit=descriptor.unit,
        effect=slope,
        correlation=correlation,
        description=text,
        lowest=farthest[0],
        highest=farthest[1],
    )


def _range(asked: Sequence[float], shares: Tensor) -> tuple[float, float]:
    """Return the range of positions, from 0 outwards, of which at least half is reached.

    `shares` says for each position which share of it is reached.
    """
    reached = dict(zip(asked, (shares >= _LEAST_SHARE).tolist(), strict=True))
    ends = []
    for side in (-1, 1):
        outwards = sorted((each for each in asked if each * side > 0), key=abs)
        ends.append([0.0, *takewhile(lambda each: reached[each], outwards)][-1])
    return ends[0], ends[1]


def _principal(name: str, share: float, differences: _Differences) -> Axis:
    """Return a principal axis, named by the descriptor that follows it."""
    changes = differences(name, _STEPS)
    lines = {each: _line(_STEPS, change) for each, change in changes.items()}
    part = f"{whole_percentage(share)} of what recordings differ in"
    follows = {
        each: line
        for each, line in lines.items()
        if abs(line[1]) >= FOLLOWS and abs(line[0]) >= DESCRIPTORS[each].noticeable
    }
    if follows:
        best = max(follows, key=lambda each: abs(follows[each][1]))
        slope, correlation = follows[best]
        unit = DESCRIPTORS[best].unit
        text = ", ".join(
            f"{each}: {follows[each][0]:+z.2f} {DESCRIPTORS[each].unit} per step"
            for each in sorted(follows, key=lambda each: -abs(follows[each][1]))
        )
        return Axis(
            name=name, unit=unit, effect=slope, correlation=correlation, description=f"{text}; {part}"
        )
    heard = [each for each, line in lines.items() if abs(line[0]) >= DESCRIPTORS[each].noticeable]
    nearest = max(heard or lines, key=lambda each: abs(lines[each][1]))
    correlation = lines[nearest][1]
    text = f"follows no descriptor (nearest: {nearest}, correlation {correlation:+z.2f}); {part}"
    return Axis(name=name, unit="", effect=0.0, correlation=correlation, description=text)


def _line(positions: Sequence[float], changes: Tensor) -> tuple[float, float]:
    """Return the slope and the correlation of changes `[seeds, positions]`, 0 at the position 0."""
    centre = torch.zeros(len(changes), 1, dtype=torch.float64)
    y = torch.cat([centre, changes], dim=1)
    x = torch.tensor([0.0, *positions], dtype=torch.float64).expand_as(y)
    # Each sound is compared with itself.
    x, y = (each - each.mean(1, keepdim=True) for each in (x, y))
    both, own, other = (x * y).sum(), x.square().sum(), y.square().sum()
    correlation = float(both / (own * other).sqrt()) if other > 0 else 0.0
    return float(both / own), correlation


def possible_axes() -> tuple[Axis, ...]:
    """Return an axis for each name that a model may have one of, with the largest range that is measured."""
    named = (
        Axis(name=name, unit=DESCRIPTORS[name].unit, effect=0.0, correlation=0.0, description="",
             lowest=min(asked), highest=max(asked))
        for name, asked in _ASKED.items()
    )  # fmt: skip
    principal = (
        Axis(name=f"axis {number}", unit="", effect=0.0, correlation=0.0, description="")
        for number in range(1, MOST_AXES + 1)
    )
    return *named, *principal


def axis_values(values: object, axes: Sequence[Axis]) -> dict[str, float]:
    """Return positions by the name of an axis, after checking them.

    Raises:
        InputError: they are no numbers by name, there is no such axis, or a position is out of its range.
    """
    if not isinstance(values, Mapping):
        raise InputError(
            f"expected numbers by the name of an axis, got a {type(values).__name__}",
            culprit="axes",
            remedy='Pass a dict, such as {"brightness": 0.5}.',
        )
    known = {axis.name: axis for axis in axes}

    def position(item: tuple[str, object]) -> tuple[str, float]:
        name, value = item
        axis = known.get(name)
        if axis is None and name in DESCRIPTORS:
            raise InputError(
                f"{name} cannot be changed with this model: its recordings do not differ in it enough, or "
                "generated sounds do not follow",
                culprit="axes",
                remedy=f"Choose among: {', '.join(known)}.",
            )
        if axis is None:
            raise InputError(
                f"there is no axis {name!r}{suggest(str(name), known)}",
                culprit="axes",
                remedy=f"Choose among: {', '.join(known)}.",
            )
        return axis.name, finite_number(
            value,
            culprit=f"axes: {name}",
            within=(axis.lowest, axis.highest),
            remedy="Farther than that, generated sounds do not follow.",
        )

    return dict(check_all(position, values.items()))
