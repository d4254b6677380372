"""`distill generate`: generate new sounds with a trained model."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from distill.cli import completion
from distill.cli.options import Number, Place, checkpoint_option, json_option, overwrite_option
from distill.config.settings import MOST_SEED, MOST_SOUNDS, MOST_STEPS_BETWEEN, MOST_TEMPERATURE

if TYPE_CHECKING:
    from torch import Tensor

    from distill.controls.axes import Axis
    from distill.inference import Model

_FORMATS = ("wav", "flac")

_OPTIONS = {
    "--axes": {"as_json"},
    "--between": {"out", "seed", "no_limit", "form", "overwrite", "steps"},
    "--near": {"out", "seed", "no_limit", "form", "overwrite", "count", "amount"},
    "": {"out", "seed", "no_limit", "form", "overwrite", "count", "temperature", "seconds", "axis"},
}
"""The options that can be given beside `--axes` etc., and without any of these."""


class _Position(click.ParamType[tuple[str, float]]):
    """A position along an axis, `NAME=VALUE`."""

    name = "NAME=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the name and the number."""
        if isinstance(value, tuple):
            return value
        name, sign, number = str(value).rpartition("=")
        if not sign:
            self.fail(f"{value!r} is not NAME=VALUE, such as brightness=+0.5.", param, ctx)
        try:
            return name.strip(), float(number)
        except ValueError:
            self.fail(f"{number!r} is not a number, such as +0.5.", param, ctx)


@click.command(short_help="Generate new sounds with a model.")
@click.argument("run", type=Place())
@click.option(
    "-n", "--count", "count", type=click.IntRange(1, MOST_SOUNDS), default=8, show_default=True,
    help="Number of sounds.",
)  # fmt: skip
@click.option("--out", type=Place(), help="Folder to write to.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Random seed.")
@click.option(
    "--temperature", type=Number(0, MOST_TEMPERATURE), default=1.0, show_default=True,
    help="Scale of random deviation from the recordings; 0 only mixes them.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=Number(0.05, 600),
    help="Length of each sound; by default the mean of the two recordings' lengths.",
)
@click.option(
    "--axis", "axis", multiple=True, type=_Position(), metavar="NAME=VALUE",
    shell_complete=completion.axes,
    help="Move the sounds along an axis, such as brightness=+0.5 (octaves). Repeatable; see --axes.",
)  # fmt: skip
@click.option("--axes", "list_axes", is_flag=True, help="List the axes of RUN, with what they change.")
@click.option(
    "--between",
    nargs=2,
    metavar="A B",
    shell_complete=completion.paths,
    help="Morph from A to B: files, or names of training recordings.",
)
@click.option(
    "--steps", type=click.IntRange(2, MOST_STEPS_BETWEEN), default=8, show_default=True,
    help="Number of sounds of --between, with both ends.",
)  # fmt: skip
@click.option(
    "--near",
    metavar="A",
    shell_complete=completion.paths,
    help="Vary a sound: a file, or the name of a training recording.",
)
@click.option(
    "--amount", type=Number(0, 1), default=0.5, show_default=True,
    help="How far --near varies; 1 is as varied as new sounds.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="wav", show_default=True, help="File format."
)
@click.option(
    "--no-limit",
    is_flag=True,
    help="Keep peaks above full scale, as 32-bit float, instead of lowering the level.",
)
@checkpoint_option
@json_option
@overwrite_option
@click.pass_context
def generate(
    context: click.Context,
    run: Path,
    *,
    count: int,
    out: Path | None,
    seed: int,
    temperature: float,
    seconds: float | None,
    axis: tuple[tuple[str, float], ...],
    list_axes: bool,
    between: tuple[str, str] | None,
    steps: int,
    near: str | None,
    amount: float,
    form: str,
    no_limit: bool,
    checkpoint: str | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Generate new sounds with the model of the run folder RUN and write them to OUT/sound-001.wav etc.

    Each sound combines the low bands of one training recording with the high bands of another, and is stereo
    if either of them is. The level of a sound whose peak exceeds full scale is lowered to a peak of 0 dBFS.
    Where this would make it quieter than the recordings, its peaks are limited, by up to 12 dB.
    The comment of each file describes how it was made.
    """
    _require_sensible(context)
    if list_axes:
        _print_axes(run, checkpoint, as_json=as_json)
        return
    if out is None:
        raise click.MissingParameter(ctx=context, param=_parameter(context, "out"))

    from distill.storage.files import require_writable

    number = steps if between else count
    targets = _targets(out, form, number, between=between, near=near, axis=axis)
    require_writable(targets, overwrite=overwrite)

    from distill.storage.run import Run

    Run(run).require()  # before the slow import of torch

    from distill.cli.display import say_written
    from distill.errors import check_all
    from distill.inference import load

    model = load(Run(run), checkpoint=checkpoint)
    if axis:
        _measure_axes(model, dict(axis))
    controls: dict[str, object] = {"seed": seed}
    sounds: Iterable[Tensor]
    if between:
        controls |= {"between": [Path(name).name for name in between], "steps": steps}
        first, second = check_all(lambda name: _sound(model, name, "--between"), between)
        sounds = model.between(first, second, steps, seed=seed)
    elif near is not None:
        controls |= {"near": Path(near).name, "amount": amount}
        sounds = model.near(_sound(model, near, "--near"), amount, count, seed=seed)
    else:
        controls |= {"temperature": temperature, "seconds": seconds, "axes": dict(axis)}
        sounds = model.iter_generate(
            count, seed=seed, temperature=temperature, seconds=seconds, axes=dict(axis) or None
        )
    for position, (target, sound) in enumerate(zip(targets, sounds, strict=True), 1):
        made_with = controls | {"number": position}
        say_written(model.write(sound, target, controls=made_with, limit=not no_limit, overwrite=overwrite))


def _targets(
    out: Path,
    form: str,
    count: int,
    *,
    between: tuple[str, str] | None,
    near: str | None,
    axis: tuple[tuple[str, float], ...],
) -> list[Path]:
    """Return the `count` files to write, which are named for what they hold."""
    from distill.storage.files import file_name

    stem, digits = "sound", 3
    if between:
        stem, digits = "-to-".join(Path(name).stem for name in between), len(str(count))
    elif near is not None:
        stem = f"near-{Path(near).stem}"
    moved = "".join(f"_{name.replace(' ', '-')}={value:+g}" for name, value in axis)
    return [
        out / file_name(f"{stem}-{each:0{digits}}{moved}", f".{form}", out) for each in range(1, count + 1)
    ]


def _given(context: click.Context) -> Iterator[click.Parameter]:
    """Yield the options that were given."""
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            yield parameter


def _parameter(context: click.Context, name: str) -> click.Parameter:
    return next(each for each in context.command.params if each.name == name)


def _require_sensible(context: click.Context) -> None:
    """Check that the options that were given belong together.

    Raises:
        UsageError: they do not.
    """
    given = {each.opts[-1]: str(each.name) for each in _given(context) if isinstance(each, click.Option)}
    modes = [mode for mode in _OPTIONS if mode in given]
    if len(modes) > 1:
        together = f"{', '.join(modes[:-1])} and {modes[-1]}"
        raise click.UsageError(f"{together} cannot be given together.", context)
    mode = modes[0] if modes else ""
    needless = {
        option: name
        for option, name in given.items()
        if option != mode and name != "checkpoint" and name not in _OPTIONS[mode]
    }
    if needless and mode:
        have, them = ("has", "it") if len(needless) == 1 else ("have", "them")
        options = " and ".join(needless)
        raise click.UsageError(f"{options} {have} no effect with {mode}: leave {them} out.", context)
    if needless:
        sentences = (
            f"{option} belongs to {' or '.join(each for each in _OPTIONS if name in _OPTIONS[each])}, "
            "which is not given."
            for option, name in needless.items()
        )
        raise click.UsageError("\n".join(sentences), context)
    if context.params["no_limit"] and context.params["form"] == "flac":
        raise click.UsageError("FLAC cannot hold peaks above full scale: leave out --no-limit.", context)
    names = Counter(name for name, _ in context.params["axis"])
    twice = [f"--axis {name}" for name, count in names.items() if count > 1]
    if twice:
        are = "is" if len(twice) == 1 else "are"
        raise click.UsageError(f"{' and '.join(twice)} {are} given twice.", context)


def _sound(model: "Model", name: str, option: str) -> "Tensor | str":
    """Return the waveform of a file at the model's rate, or the name of a training recording.

    Raises:
        CorpusError: it is neither, or the file cannot be decoded.
    """
    from distill.arguments import no_file
    from distill.audio.soundfiles import read_audio, resample
    from distill.config import suggest
    from distill.errors import CorpusError, shortened

    if os.path.isfile(name):  # noqa: PTH113  # no error where it may not be looked at, or is too long
        return resample(*read_audio(Path(name)), model.sample_rate)
    if name in model.latents:
        return name
    raise CorpusError(
        f"{no_file(name)}, and no training recording of that name{suggest(name, model.latents)}",
        culprit=f"{option} {name}",
        remedy=f"Pass a file, or one of: {shortened([*model.latents])}.",
    )


def _measure_axes(model: "Model", positions: dict[str, float] | None = None) -> "tuple[Axis, ...]":
    """Return the axes of a model, and show how far their measurement is, if they are not known.

    Raises:
        InputError: no model has a position along an axis.
    """
    from rich.console import Console

    from distill.cli.axes import axes_progress

    with axes_progress(Console(stderr=True)) as show:
        return model.measure_axes(positions=positions, on_progress=show)


def _print_axes(run: Path, checkpoint: str | None, *, as_json: bool) -> None:
    from attrs import asdict

    from distill.cli.stdout import print_product
    from distill.errors import printable
    from distill.inference import load
    from distill.storage.run import Run

    model = load(Run(run), checkpoint=checkpoint)
    axes = _measure_axes(model)
    if as_json:
        print_product(json.dumps([asdict(axis) for axis in axes], indent=1))
        return
    width = max(len(axis.name) for axis in axes)
    click.echo(
        f"{'axis':{width}}  {'range':>9}  what changes per step, as measured; --axis NAME=1 is one step"
    )
    for axis in axes:
        within = f"{axis.lowest:+g}..{axis.highest:+g}"
        click.echo(f"{printable(axis.name):{width}}  {within:>9}  {printable(axis.description)}")
