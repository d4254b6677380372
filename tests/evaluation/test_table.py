"""Tests of distill.evaluation.table: numbers that keep their columns, names as data, and the data itself."""

import attrs
import pytest

from distill.audio.corpus import Skipped
from distill.audio.corpus.levels import Remark
from distill.errors import InputError, OutputError
from distill.evaluation import Evaluation, Metrics, Result
from distill.evaluation.columns import default_columns
from distill.evaluation.table import (
    Row,
    Table,
    contender_lines,
    mean_note,
    recording_lines,
)

METRICS = Metrics(
    log_spectral_distance=4.321,
    multi_resolution_stft=1.5,
    snr=0.0,
    si_sdr=-10.0,
    level_difference=-3.04,
    peak=0.5,
    mel=3.0,
    tones=0.5,
    texture=4.0,
    original_texture=6.0,
    zimtohrli=4.0,
    visqol=4.2,
)


def evaluation(*metrics):
    """Make an evaluation of recordings named by letters."""
    return Evaluation(
        tuple(Result(name=name, metrics=each) for name, each in zip("abcdef", metrics, strict=False))
    )


def test_every_measure_has_a_column():
    """Numbers stay in the columns of their heads, however large they are, and terms follow."""
    loud = attrs.evolve(
        METRICS, level_difference=-200.0, peak=0.0, mel=123.4, tones=None, terms={"stft": 0.12345}
    )
    model = attrs.evolve(METRICS, terms={"stft": 1.5})
    lines = contender_lines(
        {"model": evaluation(model), "silence": evaluation(loud)}, ["zimtohrli", "visqol"]
    )
    assert lines == [
        "                                                     level dB",
        "              Zimtohrli ViSQOL tones texture  mean  abs worst  mel   LSD MR-STFT  stft",
        "model              4.00   4.20  0.50     4.0  -3.0  3.0  -3.0  3.0  4.32    1.50   1.5",
        "silence            4.00   4.20     -     4.0     -    -     -  123  4.32    1.50 0.123",
        "originals                                6.0",
    ]


def test_recordings_are_listed_the_worst_first():
    """The worst recordings are listed up to a number, with whether they were trained on."""
    result = evaluation(METRICS, *(attrs.evolve(METRICS, zimtohrli=value) for value in (2.0, 3.0, 5.0)))
    assert recording_lines(result, {"a": True, "b": False}, ["zimtohrli"], 3) == [
        "",
        " Zimtohrli tones texture original's level  mel   LSD trained on  worst first",
        "      2.00  0.50     4.0        6.0  -3.0  3.0  4.32         no  b",
        "      3.00  0.50     4.0        6.0  -3.0  3.0  4.32          ?  c",
        "      4.00  0.50     4.0        6.0  -3.0  3.0  4.32        yes  a",
        "and 1 more: --files 4",
    ]


def test_a_value_near_0_has_no_sign_and_silence_no_level():
    """A level of -0.04 dB is 0.0; level and SI-SDR of silence are dashes, also in a mean with it."""
    near = attrs.evolve(METRICS, level_difference=-0.04)
    silent = attrs.evolve(METRICS, level_difference=-200.0, si_sdr=-200.0, peak=0.0, mel=9.0)
    columns = ["level_difference", "si_sdr"]
    assert contender_lines({"model": evaluation(near)}, [], columns)[-1] == (
        "model           0.0  0.0   0.0  -10.0"
    )
    assert contender_lines({"model": evaluation(near, silent)}, [], columns)[-1] == (
        "model             -    -     -      -"
    )
    assert recording_lines(evaluation(near, silent), {}, [], 2, columns)[2:] == [
        "   0.0  -10.0          ?  a",
        "     -      -          ?  b",
    ]
    both = table(contenders={"model": evaluation(near, silent)})
    assert "level and SI-SDR -: not defined for silence" in both.as_text(columns="all").splitlines()
    assert "SI-SDR -: not defined for silence" in both.as_text(columns="mel,si_sdr").splitlines()
    assert "of silence" not in both.as_text(columns="mel")


def test_columns_can_be_chosen():
    """Chosen columns keep their order, and those without values are left out."""
    model = Evaluation(evaluation(METRICS).results, frechet=1.234, frechet_frames=500)
    chosen = ["si_sdr", "level_difference", "frechet", "pesq", "texture", "peak"]
    assert contender_lines({"model": model}, [], chosen) == [
        "                             level dB",
        "              SI-SDR  mean  abs worst Frechet texture  peak",
        "model          -10.0  -3.0  3.0  -3.0    1.23     4.0  0.50",
        "originals                                         6.0",
    ]
    assert recording_lines(model, {}, [], 1, chosen) == [
        "",
        " SI-SDR level texture original's  peak trained on  worst first",
        "  -10.0  -3.0     4.0        6.0  0.50          ?  a",
    ]
    assert contender_lines({"model": model}, [], ["mel"]) == ["               mel", "model          3.0"]


@pytest.mark.parametrize("speech", [(), ("pesq", "stoi")])
@pytest.mark.parametrize("models", [(), ("zimtohrli",), ("zimtohrli", "visqol")])
def test_the_table_fits_80_columns(models, speech):
    """The table fits by default, whatever is computed, if the names of recordings are short."""
    result = evaluation(attrs.evolve(METRICS, pesq=1.5, stoi=0.5))
    lines = contender_lines({"model": result}, (*models, *speech))
    rows = recording_lines(result, {}, (*models, *speech), 1)
    assert (
        max(map(len, [*lines, rows[-1], *mean_note(result, {}, default_columns(speech)).split("\n")])) <= 80
    )
    assert ("PESQ" in lines[1].split()) == bool(speech)
    assert ("MR-STFT" in lines[1].split()) == (not speech)


def test_the_note_tells_what_the_mean_is_of():
    """The note says how many recordings there are, were trained on, and have tones."""
    result = evaluation(METRICS, attrs.evolve(METRICS, tones=None))
    assert mean_note(result, {"a": True}, ["tones", "snr"]) == (
        "Mean over 2 recordings, 1 of them trained on (tones: over 1). Best: tones 1, SNR\n200."
    )
    assert mean_note(result, {"a": False}, ["mel"]) == "Mean over 2 recordings. Best: 0."
    one = evaluation(METRICS)
    assert mean_note(one, {"a": True}, ["mel"]) == "Measured on 1 recording, which was trained on. Best: 0."
    assert mean_note(one, {"a": False}, []) == "Measured on 1 recording."
    spoken = evaluation(METRICS, attrs.evolve(METRICS, pesq=2.0))
    assert mean_note(spoken, {}, ["pesq", "mel", "frechet"]).replace("\n", " ") == (
        "Mean over 2 recordings (PESQ: over 1). Frechet is over 0 frames, and needs 400. "
        "Best: PESQ 4.64, everything else 0."
    )


def table(**changes):
    """Make a table of two recordings, one of them silent, and of the model alone."""
    silent = Result(name="b", metrics=None, left_out="the recording is silent")
    values = {
        "contenders": {"model": Evaluation((Result(name="a", metrics=METRICS), silent))},
        "trained_on": {"a": True, "b": None},
        "skipped": (Skipped("c.wav", "is empty"),),
        "absent": 2,
        "listeners": ("zimtohrli",),
        "missing": ("visqol",),
        "without_baselines": "it has none",
        "remarks": (Remark("a", "peaks at +9.5 dB, above full scale"),),
    }
    return Table(**values | changes)


def test_a_table_has_a_row_for_each_recording():
    """The table has a row per recording, and a mean over those that have metrics."""
    assert table().rows == (
        Row(name="a", trained_on=True, metrics=METRICS),
        Row(name="b", trained_on=None, metrics=None, left_out="the recording is silent"),
    )
    assert table().mean == METRICS


def test_a_table_can_be_read():
    """The text of a table joins its parts: every recording and what is missing."""
    parts = table()
    assert str(parts).splitlines() == [
        *contender_lines(parts.contenders, ["zimtohrli"]),
        *recording_lines(parts.model, {"a": True}, ["zimtohrli"], 1),
        "",
        "Measured on 1 of 2 recordings, which was trained on. Best: Zimtohrli 5, tones 1,",
        "texture as the originals', everything else 0.",
        "not in the corpus: 2 of the recordings that the run held out",
        "left out: b: the recording is silent",
        "note: a: peaks at +9.5 dB, above full scale",
        "skipped: c.wav: is empty",
        "linear code and mean spectrum: left out, since it has none",
        'ViSQOL: pip install "distill[hearing]"',
    ]
    assert "worst first" not in parts.as_text(files=0)
    whole = table(absent=0, missing=(), without_baselines="", skipped=(), remarks=())
    assert str(whole).splitlines()[-1] == "left out: b: the recording is silent"


def test_of_many_files_some_are_named():
    """Ten files of each kind are named, or as many as recordings are listed, and the rest is counted."""
    many = table(
        skipped=tuple(Skipped(f"{number}.wav", f"is {number} times empty") for number in range(1234))
    )

    def skipped(files):
        return [line for line in many.as_text(files).splitlines() if line.startswith("skipped")]

    assert len(skipped(None)) == 1234
    assert len(skipped(20)) == 21
    assert skipped(5)[-2:] == [
        "skipped: 9.wav: is 9 times empty",
        "skipped: 1,224 more, which --json lists",
    ]


@pytest.mark.parametrize("files", [-1, True, 2.5, "all"])
def test_a_number_of_recordings_to_list_is_whole(files):
    """What is no count is refused. -1 listed all but one."""
    with pytest.raises(InputError) as caught:
        table().as_text(files)
    assert str(caught.value) == f"files: expected a whole number from 0 on, got {files!r}"


def test_a_table_chooses_columns():
    """Columns are named in a list or comma-separated; an unknown one is an error."""
    parts = table()
    lines = parts.as_text(columns="mel, si_sdr").splitlines()
    assert lines[0].split() == ["mel", "SI-SDR"]
    assert parts.as_text(columns=["mel", "si_sdr"]).splitlines() == lines
    with pytest.raises(InputError, match="there is no measure 'me'"):
        parts.as_text(columns="me")


def test_a_table_is_written_as_csv(tmp_path):
    """A file is written once, and replaced only if that is asked for."""
    file = tmp_path / "new" / "table.csv"
    table().write_csv(file)
    assert file.read_text() == table().to_csv()
    with pytest.raises(OutputError) as caught:
        table().write_csv(str(file))
    assert str(caught.value) == (
        f"{file}: exists already\n"
        "Add --overwrite to replace what is there, or choose another file with --csv."
    )
    file.write_text("")
    table().write_csv(file, overwrite=True)
    assert file.read_text() == table().to_csv()


def test_a_table_is_data():
    """A table holds contenders or None, recordings with what is known of them, and those skipped."""
    told = table().to_dict()
    assert list(told) == ["model", "linear_code", "mean_spectrum", "silence", "ceiling", "skipped", "remarks"]
    assert told["silence"] is None
    assert told["model"]["mean"] == attrs.asdict(METRICS)
    assert [(each["name"], each["trained_on"]) for each in told["model"]["recordings"]] == [
        ("a", True),
        ("b", None),
    ]
    assert told["skipped"] == [{"path": "c.wav", "reason": "is empty"}]
    assert told["remarks"] == [{"path": "a", "text": "peaks at +9.5 dB, above full scale"}]
