"""The page of `distill play`, on which the sounds of a model are made, heard and kept.

Only `distill.playing.page` imports Gradio, when a page is made.
"""
