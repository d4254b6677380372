"""The controls of the page and where they are. Imports Gradio."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from attrs import frozen

from distill.config.words import counted
from distill.controls.axes import Axis
from distill.controls.descriptors import DESCRIPTORS
from distill.playing.actions import OF_RUN
from distill.playing.instrument import Instrument
from distill.playing.presets import LONGEST_NAME
from distill.playing.sound import SHORTEST

_ASSETS = Path(__file__).parent / "assets"
_LONGEST_SHOWN = 10.0
"""The slider of the length ends there, in seconds; more can be typed in up to a minute."""


@frozen(kw_only=True, eq=False)
class Layout:
    """The controls of the page."""

    turn: gr.Number
    player: gr.HTML
    undo: gr.Button
    keep: gr.Button
    wav: gr.DownloadButton
    flac: gr.DownloadButton
    message: gr.HTML
    map: gr.HTML
    seed: gr.Number
    seeded: gr.Button
    random: gr.Button
    amount: gr.Slider
    vary: gr.Button
    first: gr.Dropdown
    second: gr.Dropdown
    file: gr.File
    position: gr.Slider
    morph: gr.Button
    axes: Mapping[str, gr.Slider]
    length: gr.Slider
    hold: gr.Checkbox
    reset: gr.Button
    name: gr.Textbox
    save: gr.Button
    takes: gr.Radio
    drop: gr.Button
    presets: gr.Radio
    remove: gr.Button


def theme() -> gr.themes.Base:
    """Return the theme of the page. Its fonts are set by page.css: none is loaded."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=[gr.themes.Font("sans-serif")],
        font_mono=[gr.themes.Font("monospace")],
    )
    return base.set(
        body_background_fill="*neutral_100",
        body_text_color_subdued="*neutral_600",
        block_title_text_color="*neutral_700",
        block_label_text_color="*neutral_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_small_text_size="*text_md",
        button_large_text_size="*text_md",
        button_large_text_weight="500",
        button_secondary_text_color="*neutral_800",
    )


def lay_out(instrument: Instrument) -> Layout:
    """Make the controls in the current page, and return them."""
    made: dict[str, Any] = {}
    _head(instrument)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=6, min_width=330):
            made |= _current()
            made |= _map(instrument)
        with gr.Column(scale=5, min_width=330):
            made |= _sources(instrument)
            made |= _shape(instrument)
            made |= _kept()
    return Layout(**made)


def _head(instrument: Instrument) -> None:
    name = html.escape(instrument.run.folder.resolve().name)
    facts = f"{counted(len(instrument.names), 'recording')}, {instrument.model.sample_rate / 1000:g} kHz"
    note = f'<p class="note">{html.escape(instrument.note)}</p>' if instrument.note else ""
    _text(f'<h1>{name}</h1><p class="facts">{facts}</p>{note}', "head")


def _current() -> dict[str, Any]:
    with gr.Column(elem_id="current"):
        turn = gr.Number(visible=False)  # which the browser sets
        player = gr.HTML(
            "",
            # Without the sound and its title: templates are compiled to code.
            html_template='<h2 id="now-title" aria-live="polite">No sound yet</h2>'
            '<div class="player empty"><svg preserveAspectRatio="none" aria-hidden="true">'
            '<path/><line y2="100%"/></svg><p>Click a recording, or make a random sound.</p>'
            '<audio controls aria-label="Current sound"></audio></div>',
            js_on_load=(_ASSETS / "player.js").read_text(encoding="utf-8"),
            elem_id="player",
            apply_default_css=False,
        )
        with gr.Row(elem_id="actions"):
            undo = gr.Button("Undo", size="sm", interactive=False, min_width=60)
            wav = gr.DownloadButton("Save WAV", size="sm", interactive=False, min_width=60)
            flac = gr.DownloadButton("Save FLAC", size="sm", interactive=False, min_width=60)
        message = gr.HTML(
            "",
            html_template='<p role="status"></p>',
            js_on_load=(_ASSETS / "message.js").read_text(encoding="utf-8"),
            elem_id="message",
            elem_classes=["text"],
            apply_default_css=False,
        )
    return {"turn": turn, "player": player, "undo": undo, "wav": wav, "flac": flac, "message": message}


def _map(instrument: Instrument) -> dict[str, Any]:
    points = [[each.name, each.x, each.y] for each in instrument.places]
    with gr.Column(elem_id="recordings"):
        _text("<h2>Recordings</h2><p>Click one to hear how the model makes it. Similar ones are near.</p>")
        made = gr.HTML(
            "[]",
            # Without names: templates are compiled to code.
            html_template='<div class="map"></div><p class="name" aria-hidden="true"></p>',
            js_on_load=(_ASSETS / "map.js").read_text(encoding="utf-8"),
            points=_json({"points": points, "label": f"Map of {counted(len(points), 'recording')}"}),
            elem_id="map",
            apply_default_css=False,
        )
    return {"map": made}


def _sources(instrument: Instrument) -> dict[str, Any]:
    recordings = [(name, f"{OF_RUN}{name}") for name in instrument.names]
    with gr.Column(elem_id="sources"):
        _text("<h2>New sound</h2>")
        with gr.Tabs():
            with gr.Tab("Random"), gr.Row(elem_classes=["line"]):
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90)
                seeded = gr.Button("Play the seed", min_width=90)
                random = gr.Button("Random", variant="primary", min_width=90)
            with gr.Tab("Vary"), gr.Row(elem_classes=["line"]):
                amount = gr.Slider(0, 1, value=0.5, step=0.05, label="Amount", min_width=180, buttons=[])
                vary = gr.Button("Vary", variant="primary", min_width=90)
            with gr.Tab("Morph"):
                with gr.Row(elem_classes=["line"]):
                    first = gr.Dropdown(recordings, value=recordings[0][1], label="From", min_width=120)
                    second = gr.Dropdown(recordings, value=recordings[-1][1], label="To", min_width=120)
                with gr.Row(elem_classes=["line"]):
                    position = gr.Slider(
                        0, 1, value=0.5, step=0.01, label="Position", min_width=180, buttons=[]
                    )
                    morph = gr.Button("Morph", variant="primary", min_width=90)
                file = gr.File(label="A file of your own", height=84, elem_id="file")
    return {
        "seed": seed, "seeded": seeded, "random": random, "amount": amount, "vary": vary, "first": first,
        "second": second, "position": position, "morph": morph, "file": file,
    }  # fmt: skip


def _shape(instrument: Instrument) -> dict[str, Any]:
    named = [axis for axis in instrument.axes if axis.name in DESCRIPTORS]
    others = [axis for axis in instrument.axes if axis.name not in DESCRIPTORS]
    with gr.Column(elem_id="shape"):
        _text("<h2>Shape</h2>")
        axes = {axis.name: _slider(axis) for axis in named}
        length = gr.Slider(
            SHORTEST, _LONGEST_SHOWN, value=1, step=0.05, label="Length (s)", interactive=False, buttons=[]
        )
        with gr.Accordion("What else the recordings differ in", open=not named, visible=bool(others)):
            axes |= {axis.name: _slider(axis) for axis in others}
        with gr.Row(elem_classes=["line"]):
            hold = gr.Checkbox(False, label="Use for the next sounds, too", container=False, min_width=180)
            reset = gr.Button("Reset", size="sm", min_width=60)
    return {"axes": axes, "length": length, "hold": hold, "reset": reset}


def _slider(axis: Axis) -> gr.Slider:
    """Return the slider of an axis: of a descriptor in its unit, of another one in standard deviations."""
    named = axis.name in DESCRIPTORS
    return gr.Slider(
        axis.lowest,
        axis.highest,
        value=0,
        step=0.05,
        label=f"{axis.name.capitalize()} ({axis.unit})" if named else axis.name.capitalize(),
        info=None if named else axis.description,
        interactive=False,
        buttons=[],
    )


def _kept() -> dict[str, Any]:
    with gr.Column(elem_id="kept"):
        _text("<h2>Takes and presets</h2>")
        with gr.Row(elem_classes=["line"]):
            name = gr.Textbox(
                label="Name", placeholder="a name, or none", max_length=LONGEST_NAME, min_width=140
            )
            keep = gr.Button("Keep as a take", variant="primary", min_width=120)
            save = gr.Button("Save as a preset", min_width=120)
        with gr.Tabs():
            with gr.Tab("Takes"):
                takes = gr.Radio([], label="Takes of this page", visible=False)
                drop = gr.Button("Remove", size="sm")
            with gr.Tab("Presets"):
                presets = gr.Radio([], label="Presets of the run", visible=False)
                remove = gr.Button("Remove", size="sm")
    return {
        "name": name, "keep": keep, "save": save, "takes": takes, "drop": drop, "presets": presets,
        "remove": remove,
    }  # fmt: skip


def _text(value: str, name: str | None = None) -> gr.HTML:
    """Make a text, which is HTML: what comes from outside is escaped by whoever sets it."""
    return gr.HTML(
        value, html_template="${value}", js_on_load=None, elem_id=name, elem_classes=["text"],
        apply_default_css=False,
    )  # fmt: skip


def _json(value: object) -> str:
    """Return JSON that Gradio warns about in no case, whatever the strings in it are."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
