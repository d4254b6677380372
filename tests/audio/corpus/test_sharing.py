"""Tests of distill.audio.corpus.sharing: one process decodes, and others wait for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.audio.corpus import cache, sharing
from distill.audio.corpus.cache import open_cache
from distill.audio.corpus.scanning import find_audio
from distill.audio.corpus.sharing import decoding_alone
from distill.errors import CorpusError


def test_several_cold_starts_decode_once(recordings, tmp_path, monkeypatch):
    """Several starts at once decode once, read the same samples, see the progress and leave one cache."""
    decoded = []

    def slowly(path, *args, **words):
        before = len(decoded)
        decoded.append(path)
        limit = time.monotonic() + 20
        while time.monotonic() < limit:  # until all have seen the files before
            time.sleep(0.02)
            if not before or all(any(done >= before for done, _ in told) for told in seen):
                break
        return decode(path, *args, **words)

    decode = cache.decode
    monkeypatch.setattr(cache, "decode", slowly)
    monkeypatch.setattr(sharing, "_LOOK_SECONDS", 0.01)
    found = find_audio(recordings)
    seen = [[] for _ in range(3)]

    def start(number):
        told = seen[number]
        return open_cache(
            tmp_path / "cache", found, sample_rate=8000, on_progress=lambda *progress: told.append(progress)
        )

    with ThreadPoolExecutor(3) as threads:
        contents = list(threads.map(start, range(3)))
    assert len(decoded) == len(found.candidates)
    assert len({each.recordings for each in contents}) == 1
    assert all((each.samples[:] == contents[0].samples[:]).all() for each in contents)
    assert all((done, len(found.candidates)) in told for told in seen for done in (1, 2))
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir())
    assert names == ["audio", "manifest.json"]


def test_one_that_does_not_move_is_not_waited_for(tmp_path, monkeypatch):
    """When one process hangs, the other decodes as well, and neither disturbs the other."""
    monkeypatch.setattr(sharing, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sharing, "_PATIENCE_SECONDS", 0.05)
    begun, end = threading.Event(), threading.Event()

    def hang():
        with decoding_alone(tmp_path, None):
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    begun.wait(10)
    with decoding_alone(tmp_path, None) as decoding:
        decoding.show(1, 2)
        assert not decoding.alone
    end.set()
    thread.join()
    assert not [*tmp_path.iterdir()]


def test_unfinished_files_of_killed_processes_are_removed(tmp_path):
    """Unfinished files of killed processes are removed, and no other file is."""
    for name in (".123.partial", "mine.partial"):
        (tmp_path / name).touch()
    with decoding_alone(tmp_path, None):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.partial"]


def test_nothing_is_written_through_a_link(recordings, tmp_path):
    """A cache folder that is a link is refused, and nothing is written to its target."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "cache").symlink_to("victim")
    with pytest.raises(CorpusError) as caught:
        open_cache(tmp_path / "cache", find_audio(recordings), sample_rate=8000)
    assert str(caught.value) == (
        f"{tmp_path / 'cache'}: is a link, to victim, and nothing is written through it\nRemove it."
    )
    assert not [*(tmp_path / "victim").iterdir()]
