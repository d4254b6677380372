"""From recordings to clips: a folder is decoded once to a cache on disk, and clips are drawn from it."""

from distill.corpus.cache import Recording
from distill.corpus.clips import Split
from distill.corpus.demo import write_demo_corpus
from distill.corpus.opening import Corpus, open_corpus
from distill.corpus.scanning import Skipped

__all__ = ["Corpus", "Recording", "Skipped", "Split", "open_corpus", "write_demo_corpus"]
