"""`distill evaluate`: how close a model's reconstructions come, beside trivial baselines."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distill.cli.options import refine_option

if TYPE_CHECKING:
    from torch import Tensor

    from distill.corpus import Skipped, Split, Stream
    from distill.evaluation import Evaluation

_LONGEST_SECONDS = 60


@click.command(short_help="Measure a model beside trivial baselines.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("corpus")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs to read.")
@click.option("--loss", help="Loss terms to measure sounds by, too, comma-separated: mel.")
@refine_option
def evaluate(run: Path, corpus: str, *, as_json: bool, loss: str | None, refinements: int) -> None:
    """Measure the model of the run folder RUN on all recordings in CORPUS, at the model's sample rate.

    CORPUS may be what `distill shard` wrote, too, as a folder or a URL: the held-out recordings are
    measured, those that it has cut to pieces piece by piece.

    Beside it stand two baselines: silence, and the mean spectrum of the corpus it was trained on. Of a
    long recording, the first minute is measured. With --loss, terms that need nothing but sounds
    are measures, too, with their default options.
    """
    from tempfile import TemporaryDirectory

    from distill import evaluation, sounds
    from distill.assembly import load_model
    from distill.memory import keep_freed_memory
    from distill.run import Run

    keep_freed_memory()
    vae, representation = load_model(Run(run))
    contenders: dict[str, evaluation.Reconstruct] = {
        "model": lambda waveform: sounds.reconstruct(vae, representation, waveform, refinements=refinements),
        "mean_spectrum": evaluation.mean_spectrum_baseline(vae.mean_frame, representation),
        "silence": evaluation.silence,
    }
    measure = evaluation.term_values(loss, representation) if loss else None
    with TemporaryDirectory() as cache:
        splits, left_out = _open(corpus, representation.sample_rate, Path(cache))
        results = {
            name: evaluation.evaluate(made, _recordings(splits), measure) for name, made in contenders.items()
        }
    skipped = [{"path": each.path, "reason": each.reason} for each in left_out]
    if as_json:
        plain = {name: result.as_json() for name, result in results.items()}
        click.echo(json.dumps(plain | {"skipped": skipped}, indent=1))
        return
    _print_table(results, skipped)


def _open(
    corpus: str, sample_rate: int, cache: Path
) -> tuple[Iterable["Split | Stream"], Sequence["Skipped"]]:
    """Open what is measured, and say what of it cannot be."""
    from distill.corpus import is_sharded, open_corpus, open_heldout

    if is_sharded(corpus):
        return open_heldout(corpus.rstrip("/"), sample_rate=sample_rate), ()
    opened = open_corpus(Path(corpus), sample_rate=sample_rate, cache=cache, heldout_fraction=0.0)
    return [opened.train], opened.skipped


def _recordings(splits: Iterable["Split | Stream"]) -> Iterator[tuple[str, "Tensor"]]:
    for split in splits:
        for recording in split.recordings:
            yield recording.name, split.read(recording)[:, : _LONGEST_SECONDS * split.sample_rate]


def _print_table(results: Mapping[str, "Evaluation"], skipped: Sequence[Mapping[str, str]]) -> None:
    terms = next((result.mean.terms for result in results.values() if result.mean), {})
    heads = "".join(f"{name:>{len(name) + 2}}" for name in terms)
    click.echo(f"{'':14}{'LSD dB':>8}{'MR-STFT':>9}{'SI-SDR dB':>11}{'level dB':>10}{'peak':>7}{heads}")
    for name, result in results.items():
        mean = result.mean
        if mean is None:
            click.echo(f"{name:14}nothing could be measured")
            continue
        click.echo(
            f"{name:14}{mean.log_spectral_distance:8.2f}{mean.multi_resolution_stft:9.2f}"
            f"{mean.si_sdr:11.1f}{mean.level_difference:10.1f}{mean.peak:7.2f}"
            + "".join(f"{value:>{len(term) + 2}.3g}" for term, value in mean.terms.items())
        )
    every, left_out_of_it = results["model"].results, results["model"].left_out
    measured = f"{len(every) - len(left_out_of_it)} of {len(every)}"
    click.echo(f"\nMean over {measured} recordings; LSD and MR-STFT: lower is better.")
    for left_out in left_out_of_it:
        click.echo(f"left out: {left_out.name}: {left_out.left_out}")
    for each in skipped:
        click.echo(f"skipped: {each['path']}: {each['reason']}")
