"""The latents of a run's training recordings, encoded by the model of one of its checkpoints."""

from pathlib import Path

from distill.errors import CorpusError, RunError
from distill.evaluation.recordings import open_measured
from distill.model import VAE
from distill.model.sounds import Encoded, encode
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import Which, load_checkpoint
from distill.storage.run import Run


def encode_trained(
    vae: VAE, representation: MagnitudeIF, run: Run, checkpoint: Which, *, cache: Path
) -> dict[str, Encoded]:
    """Encode the first minute of each recording that a run was trained on.

    The latents in the run folder are those of the finished model.

    Args:
        vae: the model of the checkpoint.
        representation: its representation.
        run: the run. Its corpus is opened again.
        checkpoint: the checkpoint.
        cache: a folder for decoded recordings.

    Raises:
        RunError: the recordings are not there, or are in shards, which are not opened again.
    """
    problem = "the recordings that it was trained on cannot be opened again"
    try:
        opened = open_measured(run, None, heldout=False, sample_rate=representation.sample_rate, cache=cache)
    except CorpusError as error:
        raise _finish_with_it(f"{problem}: {error.problem}", run, checkpoint) from error
    bank = {
        name: encode(vae, representation, waveform)
        for name, waveform in opened.recordings()
        if opened.trained_on.get(name)
    }
    if not bank:
        raise _finish_with_it(problem, run, checkpoint)
    return bank


def _finish_with_it(problem: str, run: Run, checkpoint: Which) -> RunError:
    step = load_checkpoint(run.checkpoints, checkpoint).step
    return RunError(
        f"the checkpoint of step {step} has no latents to make sounds of, and {problem}",
        culprit=str(run.folder),
        remedy="Finish the run with that checkpoint: distill train CORPUS --resume "
        f"--out {run.folder} --from {checkpoint} --steps {step}",
    )
