"""Presets: sounds that are saved in a run folder, `presets.json`, by name."""

import json
import threading
from collections.abc import Mapping
from typing import Any

from distill.errors import InputError, RunError, printable
from distill.playing.sound import Sound
from distill.storage.files import naming, read_bounded, write_whole
from distill.storage.run import Run

MOST_PRESETS, LONGEST_NAME = 10_000, 200
_LARGEST = 2**24
_FORMAT = "distill-presets"

_writing = threading.Lock()


def load_presets(run: Run) -> dict[str, Sound]:
    """Read the presets of a run, by name, in the order in which they were saved.

    Raises:
        RunError: the file cannot be read, or is not one of presets.
    """
    path = run.presets
    if path.is_symlink():  # a run may come from a stranger
        raise _damaged(run, "is a link")
    if not path.exists():
        return {}
    try:
        return _structured(json.loads(read_bounded(path, _LARGEST)))
    except OSError as error:
        raise _damaged(run, f"cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise _damaged(run, "does not hold presets: it is nested too deeply") from error
    except ValueError as error:
        raise _damaged(run, f"does not hold presets: {error}") from error


def save_preset(run: Run, name: str, sound: Sound) -> dict[str, Sound]:
    """Save a sound as a preset of a run, and return all its presets. A preset of the same name is replaced.

    Raises:
        InputError: the name is empty or too long, or the sound needs a file of one's own.
        RunError: the file in the place of the presets is another one, or cannot be written.
    """
    name = printable(name.strip())
    if not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"expected a name of 1 to {LONGEST_NAME} characters", culprit="preset")
    if sound.owns:
        raise InputError(
            f"needs a file of your own, {sound.owns[0]}, which is not in the run",
            culprit="preset",
            remedy="Keep it as a take, or save it as a sound file.",
        )
    with _writing:  # pages of one process
        presets = load_presets(run)
        if len(presets) >= MOST_PRESETS and name not in presets:
            raise InputError(f"there are {MOST_PRESETS:,} presets already", culprit="preset")
        presets[name] = sound
        _write(run, presets)
    return presets


def remove_preset(run: Run, name: str) -> dict[str, Sound]:
    """Remove a preset of a run, and return the others.

    Raises:
        RunError: the file cannot be read or written.
    """
    with _writing:
        presets = load_presets(run)
        if presets.pop(name, None) is not None:
            _write(run, presets)
    return presets


def _write(run: Run, presets: Mapping[str, Sound]) -> None:
    sounds = [{"name": name, **sound.to_tree()} for name, sound in presets.items()]
    content = {"format": _FORMAT, "version": 1, "sounds": sounds}
    with naming(run.presets):
        write_whole(run.presets, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def _structured(tree: Any) -> dict[str, Sound]:  # noqa: ANN401  # of a file
    if not isinstance(tree, Mapping) or tree.get("format") != _FORMAT:
        raise ValueError(f'its format is not "{_FORMAT}"')
    if tree.get("version") != 1:
        raise ValueError(f"expected version 1, got {tree.get('version')!r:.50}")
    sounds = tree.get("sounds")
    if not isinstance(sounds, list) or len(sounds) > MOST_PRESETS:
        raise ValueError(f"expected a list of at most {MOST_PRESETS:,} sounds")
    presets = {}
    for position, each in enumerate(sounds, start=1):
        name = each.get("name") if isinstance(each, Mapping) else None
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(f"sound {position} has no name")
        try:
            presets[printable(name)] = Sound.from_tree(each)
        except ValueError as error:
            raise ValueError(f"sound {position}, {printable(name)}: {error}") from error
    return presets


def _damaged(run: Run, problem: str) -> RunError:
    return RunError(
        problem,
        culprit=str(run.presets),
        remedy="Presets are saved there. Move it to another place, or restore it from a copy.",
    )
