"""Tests of distill.storage.checksums: a file's own checksum."""

import hashlib

import torch
from safetensors.torch import load, save

from distill.storage.checksums import is_whole, sealed


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(tmp_path):
    """Any program can compute the checksum, and the tensors stay in place, aligned to 8 bytes."""
    path, tensors = tmp_path / "a", {"a": torch.arange(3.0), "b": torch.ones(1, dtype=torch.uint8)}
    content = b"".join(sealed(save(tensors, {"note": "x"})))
    start = content.index(b'"distill_sha256":"') + len(b'"distill_sha256":"')
    zeros = content[:start] + b"0" * 64 + content[start + 64 :]
    assert content[start : start + 64].decode() == hashlib.sha256(zeros).hexdigest()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    assert {name: value.tolist() for name, value in load(content).items()} == {"a": [0, 1, 2], "b": [1]}
    path.write_bytes(content)
    assert is_whole(path)
    path.write_bytes(content[:-1] + b"\x00")
    assert is_whole(path) is False


def test_a_file_without_one_is_neither(tmp_path):
    """A file without a checksum, or with a header longer than itself, is neither right nor wrong."""
    path = tmp_path / "a"
    path.write_bytes(save({"a": torch.ones(2)}, {"note": "x"}))
    assert is_whole(path) is None
    path.write_bytes(b"\xff" * 9)
    assert is_whole(path) is None
