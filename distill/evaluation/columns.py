"""The columns of the table of an evaluation: which are shown, their heads, and their best values."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import frozen

from distill.errors import InputError
from distill.evaluation.listeners import LISTENERS
from distill.evaluation.speech import SPEECH

LEVEL, TEXTURE, FRECHET = "level_difference", "texture", "frechet"
"""The columns that are more than a number of `Metrics`."""

NOT_OF_SILENCE = (LEVEL, "si_sdr")
"""The columns without a value in dB where a reconstruction is silent."""


@frozen(kw_only=True)
class Column:
    """A column of a measure.

    Attributes:
        head: the head of the column.
        width: the width of the column, with the space before it.
        digits: the number of digits after the point.
        best: the best value, in words. Empty if it is 0.
    """

    head: str
    width: int
    digits: int
    best: str = ""


COLUMNS: Mapping[str, Column] = {
    "zimtohrli": Column(head="Zimtohrli", width=10, digits=2, best="Zimtohrli 5"),
    "visqol": Column(head="ViSQOL", width=7, digits=2, best="ViSQOL 4.73"),
    "pesq": Column(head="PESQ", width=6, digits=2, best="PESQ 4.64"),
    "stoi": Column(head="STOI", width=6, digits=2, best="STOI 1"),
    "tones": Column(head="tones", width=6, digits=2, best="tones 1"),
    TEXTURE: Column(head="texture", width=8, digits=1, best="texture as the originals'"),
    LEVEL: Column(head="level", width=6, digits=1),
    "mel": Column(head="mel", width=5, digits=1),
    "log_spectral_distance": Column(head="LSD", width=6, digits=2),
    "multi_resolution_stft": Column(head="MR-STFT", width=8, digits=2),
    "snr": Column(head="SNR", width=6, digits=1, best="SNR 200"),
    "si_sdr": Column(head="SI-SDR", width=7, digits=1, best="SI-SDR 200"),
    "peak": Column(head="peak", width=6, digits=2, best="peak below 1"),
    FRECHET: Column(head="Frechet", width=8, digits=2),
}
"""The columns by the name of their measure in the JSON."""

_ASKED = LISTENERS.keys() | SPEECH.keys()
"""The measures that are not always computed."""

_DEFAULT = ("zimtohrli", "visqol", "tones", TEXTURE, LEVEL, "mel")


def default_columns(computed: Collection[str]) -> tuple[str, ...]:
    """Return columns that fit in 80 characters. Measures of speech, if computed, replace LSD and MR-STFT."""
    if not SPEECH.keys().isdisjoint(computed):
        return (*_DEFAULT[:2], *SPEECH, *_DEFAULT[2:])
    return (*_DEFAULT, "log_spectral_distance", "multi_resolution_stft")


def shorter(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the default columns without those that have no room beside the name of a recording."""
    return tuple(name for name in columns if name not in ("visqol", "multi_resolution_stft"))


def computed_columns(columns: Iterable[str], computed: Collection[str]) -> tuple[str, ...]:
    """Return the columns whose measures were computed."""
    return tuple(name for name in columns if name not in _ASKED or name in computed)


def parse_columns(columns: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of columns from a comma-separated list, or from names. `all` stands for all of them.

    Raises:
        InputError: a name is unknown or there is none.
    """
    names = columns.split(",") if isinstance(columns, str) else list(columns)
    wanted = tuple(dict.fromkeys(name.strip() if isinstance(name, str) else name for name in names))
    if wanted == ("all",):
        return tuple(COLUMNS)
    unknown = [repr(name) for name in wanted if name not in COLUMNS]
    if unknown:
        raise InputError(
            f"there is no measure {' or '.join(unknown)}; expected all, or some of {', '.join(COLUMNS)}",
            culprit="columns",
            remedy="Pass them comma-separated, such as mel,si_sdr.",
        )
    if not wanted:
        raise InputError("is empty", culprit="columns", remedy="Pass some, such as mel,si_sdr, or all.")
    return wanted


def best_values(columns: Iterable[str]) -> str:
    """Return a sentence on the best values of columns, empty if there are none."""
    chosen = [COLUMNS[name] for name in columns]
    bests = [column.best for column in chosen if column.best]
    zeros = [column.head for column in chosen if not column.best]
    if zeros:
        bests.append("everything else 0" if bests else "0")
    return f"Best: {', '.join(bests)}." if bests else ""
