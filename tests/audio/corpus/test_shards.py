"""Reading sharded corpora, from a folder and from a server, whole and broken."""

import functools
import gzip
import http.server
import io
import json
import os
import shutil
import sys
import tarfile
import threading

import numpy as np
import pytest
import soundfile

from distill.audio.corpus import is_sharded, open_shards
from distill.errors import CorpusError

RESTORE = "Restore it from a copy, or write the shards again with `distill shard`."


@pytest.fixture
def copy(shards, tmp_path):
    """Copy the shards, to be damaged."""
    return shutil.copytree(shards, tmp_path / "copy")


@pytest.fixture
def server(copy):
    """Serve the copy on this machine; return its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=copy)
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def opened(location, *, sample_rate=8000, pool_shards=6):
    """Open shards, and read all of them."""
    corpus = open_shards(str(location), sample_rate=sample_rate, pool_shards=pool_shards)
    assert corpus.train.recordings
    return corpus


def refusal(location, **options):
    """Return the message with which shards are refused."""
    with pytest.raises(CorpusError) as caught:
        opened(location, **options)
    assert caught.value.exit_status == 2
    return str(caught.value)


def change_manifest(folder, change):
    """Change the manifest of a folder."""
    tree = json.loads((folder / "shards.json").read_text())
    change(tree)
    (folder / "shards.json").write_text(json.dumps(tree))


def damage(path):
    """Overwrite some of a file's bytes."""
    data = bytearray(path.read_bytes())
    data[600:900] = bytes(300)
    path.write_bytes(data)


def test_what_is_sharded(shards, recordings):
    """A folder with a manifest and a URL are sharded; recordings, a file and a missing path are not."""
    assert is_sharded(str(shards))
    assert is_sharded("https://example.org/shards")
    assert not is_sharded(str(recordings))
    assert not is_sharded(str(recordings / "a.wav"))
    assert not is_sharded(str(recordings / "none"))


def test_a_url_gives_what_the_folder_gives(copy, server):
    """A URL gives the same recordings and samples as the folder that it serves."""
    here, there = opened(copy), opened(server)
    assert there.folder == server
    assert there.train.recordings == here.train.recordings
    for recording in here.train.recordings:
        assert there.train.read(recording).tolist() == here.train.read(recording).tolist()


def test_the_first_held_out_shard_is_held(copy):
    """Of two held-out shards, only the first is held in memory, as a split like any other."""
    change_manifest(copy, lambda tree: tree.update(heldout=tree["train"][4:], train=tree["train"][:4]))
    corpus = opened(copy)
    names = {recording.name for recording in corpus.heldout.recordings}
    assert len(names) == 2
    assert names.isdisjoint(recording.name for recording in corpus.train.recordings)
    for recording in corpus.heldout.recordings:
        level = (int(recording.name[:2]) + 1) / 16
        np.testing.assert_allclose(corpus.heldout.read(recording), np.full((1, 8000), level), atol=2**-23)


def test_another_sample_rate(shards):
    """The message names both sample rates and the remedy."""
    assert refusal(shards, sample_rate=44100) == (
        f"{shards}: its shards are at 8000 Hz, and representation.sample_rate is 44100\n"
        "Set representation.sample_rate=8000, or write shards at that rate."
    )


def test_a_missing_shard(copy):
    """A missing shard is refused before training; the message names it and the remedy."""
    (copy / "train-000003.tar").unlink()
    assert refusal(copy, pool_shards=1) == (
        f"{copy}/train-000003.tar: the shard cannot be read: No such file or directory\n{RESTORE}"
    )


def test_a_truncated_shard(copy):
    """A truncated shard is refused before training; the message names both sizes and the remedy."""
    path = copy / "train-000003.tar"
    path.write_bytes(path.read_bytes()[:5000])
    size = json.loads((copy / "shards.json").read_text())["train"][3]["bytes"]
    assert refusal(copy, pool_shards=1) == (
        f"{path}: the shard is damaged: it has 5000 bytes, and had {size} when it was written\n{RESTORE}"
    )


def test_an_empty_shard(copy):
    """A shard of no bytes is refused as a truncated one."""
    path = copy / "train-000000.tar"
    path.write_bytes(b"")
    size = json.loads((copy / "shards.json").read_text())["train"][0]["bytes"]
    assert refusal(copy) == (
        f"{path}: the shard is damaged: it has 0 bytes, and had {size} when it was written\n{RESTORE}"
    )


def test_a_shard_with_other_bytes(copy):
    """A shard of the right size with overwritten FLAC data is refused as damaged."""
    damage(copy / "train-000003.tar")
    assert refusal(copy) == f"{copy}/train-000003.tar: the shard is damaged\n{RESTORE}"


@pytest.mark.parametrize(("pieces", "samples"), [(3, 16000), (2, 24000), (2, 12000), (1, 16000)])
def test_a_shard_that_holds_another_number(copy, pieces, samples):
    """A shard with more or fewer pieces or samples than its list says is refused as damaged."""
    change_manifest(
        copy, lambda tree: [shard.update(pieces=pieces, samples=samples) for shard in tree["train"]]
    )
    message = refusal(copy, pool_shards=1)
    assert message.partition(": ")[2] == (
        "the shard is damaged: it has 2 pieces of 16000 samples in all, "
        f"and had {pieces} of {samples} when it was written\n{RESTORE}"
    )
    assert message.startswith(f"{copy}/train-")


def test_a_server_without_a_shard(copy, server):
    """The message names the shard that the server lacks, its answer and the remedy."""
    (copy / "train-000003.tar").unlink()
    assert refusal(server) == (
        f"{server}/train-000003.tar: the shard cannot be read: the server answers 404 File not found\n"
        "Check the URL and the connection. A training run goes on with --resume."
    )


def test_a_server_with_half_a_shard(copy, server):
    """The message names the shard that the server sends only in part and the remedy."""
    path = copy / "train-000003.tar"
    path.write_bytes(path.read_bytes()[:3000])
    assert refusal(server) == f"{server}/train-000003.tar: the shard is damaged\n{RESTORE}"


def test_a_server_without_shards(copy, server):
    """The message says that the server has no list of shards, and names the remedy."""
    (copy / "shards.json").unlink()
    assert refusal(server) == (
        f"{server}/shards.json: the list of shards cannot be read: the server answers 404 File not found\n"
        "Check the URL and the connection. A training run goes on with --resume."
    )


def test_nothing_to_train_on(copy):
    """The message says that the list has no shards to train on, and names the remedy."""
    change_manifest(copy, lambda tree: tree.update(train=[]))
    assert refusal(copy) == f"{copy}/shards.json: lists no shards to train on\n{RESTORE}"


SHARD = {"name": "a.tar", "bytes": 1, "pieces": 1, "frames": 1, "samples": 1}


def listing(**changes):
    """Return a list of one shard with other values."""
    return json.dumps({"sample_rate": 8000, "train": [SHARD | changes], "heldout": []})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"sample_rate": 8000, "train": [{"name": 1}], "heldout": []}',
        "[" * 100_000,
        *(
            listing(**{name: value})
            for name in ("bytes", "pieces", "frames", "samples")
            for value in (0, -5, 2**63, 10**400, 1.5, None)
        ),
        *(
            listing(name=name)
            for name in ("", ".", "..", "/etc/a.tar", "../a.tar", "b/a.tar", "a\0.tar", "a")
        ),
    ],
)
def test_a_damaged_list_of_shards(copy, text):
    """The message says that the list of shards is damaged, whatever is wrong with it."""
    (copy / "shards.json").write_text(text)
    assert refusal(copy) == (
        f"{copy}/shards.json: the list of shards is damaged, or of another version of Distill\n{RESTORE}"
    )


@pytest.mark.parametrize("location", ["s3://bucket/shards", "pipe:touch hacked; echo ://"])
def test_what_is_no_url_of_shards(location, tmp_path, monkeypatch):
    """The message names the protocols that can be read, and no command in the URL is run."""
    monkeypatch.chdir(tmp_path)
    assert refusal(location) == (
        f"{location}: shards cannot be read by '{location.partition(':')[0]}'; "
        "expected one of http, https, gs, hf\n"
        "Pass such a URL, or mount the storage and pass the folder."
    )
    assert list(tmp_path.iterdir()) == []


def test_without_webdataset(shards, monkeypatch):
    """The message says that WebDataset is not installed and how to install it."""
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert refusal(shards) == (
        "webdataset: a sharded corpus needs WebDataset, which is not installed\n"
        'Install it: pip install "distill[shards]"'
    )


def test_shards_that_no_memory_holds(copy):
    """Shards listed as too large for memory are refused before any is allocated, with the remedy."""
    change_manifest(copy, lambda tree: tree["train"][0].update(samples=2**41))
    message = refusal(copy)
    assert message.startswith(f"{copy}: 7 of its shards need 61.6 TB of memory, and there are ")
    assert message.endswith("\nLower corpus.pool_shards, or write smaller shards: distill shard --minutes")


def rewrite(path, edit):
    """Write a tar file again, each member of it edited, with the size in the list of shards."""
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            edit(tar, member, content)
    record_size(path)


def record_size(path):
    """Have the list of shards name the size that a file has."""
    change_manifest(
        path.parent,
        lambda tree: [
            shard.update(bytes=path.stat().st_size) for shard in tree["train"] if shard["name"] == path.name
        ],
    )


def linked(tar, member, _):
    """Add a member as a link to a file of the user's."""
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/hostname", 0
    tar.addfile(member)


def named_outside(tar, member, content):
    """Add a member with a name outside of any folder that it might be written to."""
    member.name = f"../../../tmp/{member.name}"
    tar.addfile(member, io.BytesIO(content))


def of_no_name(tar, member, content):
    """Add a recording whose name no file can have."""
    content = b"a\0b" if member.name.endswith(".name") else content
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def in_another_format(tar, member, content):
    """Add a recording that is no FLAC."""
    if member.name.endswith(".flac"):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(8000), 8000, format="WAV")
        content = file.getvalue()
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def sparse(tar, member, content):
    """Add a member that would be read as a terabyte of zeros."""
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,1"}
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("edit", [linked, of_no_name, in_another_format, sparse])
def test_a_shard_of_something_else(copy, edit):
    """A shard that holds links, holes, or anything but recordings and their names is refused."""
    path = copy / "train-000003.tar"
    rewrite(path, edit)
    assert refusal(copy) == f"{path}: the shard is damaged\n{RESTORE}"


def test_a_name_of_a_member_is_no_path(copy):
    """Members are never unpacked: a name that leads out of the folder does no harm."""
    rewrite(copy / "train-000003.tar", named_outside)
    assert opened(copy).train.recordings


def test_a_compressed_shard_is_not_decompressed(copy):
    """A compressed shard, which may unpack to many gigabytes, is refused as damaged."""
    path = copy / "train-000003.tar"
    path.write_bytes(gzip.compress(path.read_bytes()))
    record_size(path)
    assert refusal(copy) == f"{path}: the shard is damaged\n{RESTORE}"


@pytest.mark.parametrize("name", ["train-000003.tar", "shards.json"])
def test_a_pipe_is_not_waited_for(copy, name):
    """A pipe in place of a shard, or of the list of shards, is refused without waiting."""
    (copy / name).unlink()
    os.mkfifo(copy / name)
    if name == "shards.json":
        assert not is_sharded(str(copy))
    else:
        assert f"{copy / name}: the shard is damaged: it has 0 bytes" in refusal(copy)
