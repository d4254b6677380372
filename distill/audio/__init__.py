"""Audio: sound files, and corpora of recordings."""
