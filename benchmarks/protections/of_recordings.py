"""Protections of corpora."""

import re
from types import SimpleNamespace

from replacing import Protection, always, decompressing, mapped, nothing, unshared

CORPUS = "tests/audio/corpus/test_"

PROTECTIONS = (
    Protection(
        "digest of split.json",
        "distill.audio.corpus.membership.Membership.digest",
        "",
        f"{CORPUS}membership.py::test_a_record_that_was_changed",
    ),
    Protection(
        "names of shards",
        "distill.audio.corpus.shards._NAME",
        re.compile(".*"),
        f"{CORPUS}shards.py::test_a_damaged_list_of_shards",
    ),
    Protection(
        "fields of a cache's list",
        "distill.audio.corpus.cache._lies_in",
        always(True),  # the value
        f"{CORPUS}cache.py::test_a_manifest_of_other_fields_decodes_anew",
    ),
    Protection(
        "recordings that are cut short or joined",
        "distill.audio.corpus.decoding.completeness",
        always(SimpleNamespace(problem="", note="")),
        f"{CORPUS}completeness.py::test_reasons",
    ),
    Protection(
        "impossible levels",
        "distill.audio.corpus.levels.Level.require_possible",
        nothing,
        f"{CORPUS}levels.py::test_impossible_levels",
    ),
    Protection(
        "tools that hang",
        "distill.audio.corpus.fetching._Timed._in_time",
        lambda _, call: call(),
        f"{CORPUS}fetching.py::test_a_tool_is_not_waited_for",
    ),
    Protection(
        "URLs that only a recipe names",
        "distill.training.train.require_no_url",
        nothing,
        "tests/cli/test_fetching.py::test_a_run_does_not_decide_what_is_fetched",
    ),
    Protection(
        "what was held out stays held out",
        "distill.audio.corpus.continuing.as_recorded",
        lambda corpus, *_: (corpus, ()),
        f"{CORPUS}continuing.py::test_nothing_changes_sides",
    ),
    Protection(
        "one process decodes for several",
        "distill.audio.corpus.sharing.decoding_alone",
        unshared,
        f"{CORPUS}sharing.py::test_several_cold_starts_decode_once",
    ),
    Protection(
        "links in the place of a cache",
        "distill.audio.corpus.writing.require_no_link",
        nothing,
        f"{CORPUS}sharing.py::test_nothing_is_written_through_a_link",
    ),
    Protection(
        "decoded recordings that are cut short",
        "distill.audio.corpus.samples.FileSamples",
        mapped,
        f"{CORPUS}samples.py::test_a_file_that_is_cut_short_is_said",
    ),
    Protection(
        "sounds of a run folder",
        "distill.audio.corpus.scanning._RUN",
        "never",
        f"{CORPUS}scanning.py::test_sounds_of_a_model_are_no_corpus",
    ),
    Protection(
        "sounds that Distill has made",
        "distill.audio.corpus.decoding.MADE",
        "never",
        "tests/audio/test_streaming.py::test_what_distill_makes_is_no_recording",
    ),
    Protection(
        "shards that are compressed",
        "tarfile.open",
        decompressing,
        f"{CORPUS}shards.py::test_a_compressed_shard_is_not_decompressed",
    ),
    Protection(
        "pace of a server",
        "distill.audio.corpus.fetching._Watched._check_pace",
        nothing,
        f"{CORPUS}fetching.py::test_a_server_is_not_waited_for",
    ),
)
