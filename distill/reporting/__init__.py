"""The page of a training run, its state, and lists of runs.

Facts are read from a run folder (`history`, `sounds`, `latents`, gathered in `facts`), judged by rules
(`verdict`), drawn (`figures`) and written as one HTML file (`page`). `listing` lists runs.
"""
