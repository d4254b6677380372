"""Tests of distill.audio.corpus.samples: slices of a file, also of one that changes while it is used."""

import os

import numpy as np
import pytest

from distill.audio.corpus.samples import FileSamples
from distill.errors import CorpusError


@pytest.fixture
def path(tmp_path):
    """Write a hundred samples."""
    np.arange(100, dtype="<f4").tofile(tmp_path / "audio.f32")
    return tmp_path / "audio.f32"


@pytest.fixture
def samples(path):
    """Open them; the file given is closed again."""
    with path.open("rb") as file:
        return FileSamples(file.fileno(), str(path))


@pytest.mark.parametrize("part", [slice(0, 100), slice(7, 9), slice(5, 5), slice(9, 5), slice(None)])
def test_a_slice_is_that_of_an_array(samples, part):
    """A slice, empty or not, equals that of an array and is a copy."""
    found = samples[part]
    assert np.array_equal(found, np.arange(100, dtype=np.float32)[part])
    found[:] = -1
    assert np.array_equal(samples[part], np.arange(100, dtype=np.float32)[part])


def test_a_file_that_is_removed_can_still_be_read(samples, path):
    """An open file can be read after it is removed, as by another run that decodes anew."""
    path.unlink()
    assert samples[3:5].tolist() == [3, 4]


@pytest.mark.parametrize("size", [0, 40, 50])
def test_a_file_that_is_cut_short_is_said(samples, path, size):
    """A file cut short while open gives one clear error, and the samples still in it can be read."""
    os.truncate(path, size)
    with pytest.raises(CorpusError) as caught:
        samples[8:13]
    assert str(caught.value) == (
        f"{path}: the decoded recordings were cut short or damaged while they were used\n"
        "Run the command again, with --resume where it trained: they are decoded anew."
    )
    assert samples[: size // 8].size == size // 8
