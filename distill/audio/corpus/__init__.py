"""Corpora of recordings. A folder is decoded once to a cache on disk, and clips are drawn from the cache.

A corpus that is larger than a disk is written to shards instead, and streamed.
"""

from distill.audio.corpus.arrays import NamedArray, open_arrays
from distill.audio.corpus.cache import Recording
from distill.audio.corpus.clips import Split
from distill.audio.corpus.demo import write_demo_corpus
from distill.audio.corpus.levels import Remark
from distill.audio.corpus.opening import Corpus, open_corpus, open_heldout, open_shards
from distill.audio.corpus.scanning import Skipped
from distill.audio.corpus.sharding import write_shards
from distill.audio.corpus.shards import is_sharded
from distill.audio.corpus.stream import Stream

__all__ = [
    "Corpus",
    "NamedArray",
    "Recording",
    "Remark",
    "Skipped",
    "Split",
    "Stream",
    "is_sharded",
    "open_arrays",
    "open_corpus",
    "open_heldout",
    "open_shards",
    "write_demo_corpus",
    "write_shards",
]
