"""The page of `distill play`: its controls, and what is shown when one was used. Imports Gradio."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from fastapi import FastAPI

from distill.errors import DistillError
from distill.playing.actions import OF_RUN, Actions, drawn_seed, key_of
from distill.playing.files import to_play, write_files
from distill.playing.instrument import Instrument
from distill.playing.layout import lay_out, theme
from distill.playing.presets import LONGEST_NAME, load_presets, remove_preset, save_preset
from distill.playing.session import Desk, Session
from distill.playing.sound import Between, Random, Sound, recordings_of

_ASSETS = Path(__file__).parent / "assets"
_MOST_BYTES = "200mb"
"""The largest file of the user: ten minutes of stereo in 24 bits have 160 MB."""

_QUIETLY: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
"""Without Gradio's queue, the answer to a request is the result: with it, the page asks for it once more."""

_IN_TURN = "(desk, turn, ...values) => [desk, performance.now(), ...values]"
"""Runs in the browser when a control is used: requests, and their answers, may overtake each other."""

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


def make_page(instrument: Instrument, folder: Path) -> FastAPI:
    """Return the application that serves the page of an instrument. Its sounds are written to `folder`."""
    blocks = Page(instrument, folder).blocks
    return gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        footer_links=[],
        show_error=False,
        max_file_size=_MOST_BYTES,
        theme=theme(),
        css=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )


class Page:
    """The controls of a page, and the functions that they call.

    A function takes the desk and the values of controls, and returns updates of controls.
    A mistake of the user is a message on the page, and leaves everything else as it is.
    """

    def __init__(self, instrument: Instrument, folder: Path) -> None:
        self.instrument, self.folder = instrument, folder
        self.actions = Actions(instrument)
        name = instrument.run.folder.resolve().name
        with gr.Blocks(title=f"{name} · Distill", analytics_enabled=False) as self.blocks:
            self.desk = gr.State(Desk())
            self.layout = lay_out(instrument)
            self._connect_sounds()
            self._connect_kept()
            self.blocks.load(self._opened, None, [self.layout.presets, self.layout.message], **_QUIETLY)

    def _connect_sounds(self) -> None:
        page, act = self.layout, self.actions
        hold = page.hold
        self._plays([page.random.click], lambda session, held: act.random(session, drawn_seed(), held), hold)
        self._plays([page.seeded.click, page.seed.submit], act.random, page.seed, hold)
        self._plays(
            [page.vary.click], lambda session, amount: act.vary(session, amount, drawn_seed()), page.amount
        )
        self._plays([page.reset.click], act.reset)
        ends = [page.first, page.second, page.position, hold]
        self._plays([page.morph.click, page.first.input, page.second.input], act.morph, *ends)
        self._plays([page.position.input], act.morph, *ends, dragged=page.position)
        self._plays([page.length.input], act.stretch, page.length, dragged=page.length)
        for axis, slider in page.axes.items():
            self._plays(
                [slider.input],
                lambda session, value, axis=axis: act.shift(session, axis, value),
                slider,
                dragged=slider,
            )
        # As the last of several events, Gradio would send the point of the first one once more.
        self._sends(page.map.select, self._clicked, hold, trigger_mode="multiple")
        self._sends(page.undo.click, self._undone)
        dropped = [page.file, page.first, page.position, hold]
        self._sends(page.file.upload, self._dropped, *dropped, outputs=[*self._heard, page.file])
        page.player.play(self._shown, self.desk, self._seen, trigger_mode="always_last", **_QUIETLY)

    def _connect_kept(self) -> None:
        page, act = self.layout, self.actions
        self._plays([page.takes.input], act.take, page.takes, dragged=page.takes)
        self._plays(
            [page.presets.input], lambda _, name: act.preset(name), page.presets, dragged=page.presets
        )
        kept = [page.takes, page.name, page.message]
        for event in (page.keep.click, page.name.submit):
            self._sends(event, self._kept, page.name, outputs=kept, trigger_mode="once")
        self._sends(page.drop.click, self._forgotten, page.takes, outputs=kept, trigger_mode="once")
        saved = [page.presets, page.name, page.message]
        self._sends(page.save.click, self._saved, page.name, outputs=saved, trigger_mode="once")
        self._sends(page.remove.click, self._removed, page.presets, outputs=saved, trigger_mode="once")

    @property
    def _heard(self) -> list[Any]:
        """The controls that are set first: the player with the title, the message, and what saves a sound."""
        page = self.layout
        return [page.player, page.message, page.wav, page.flac]

    @property
    def _seen(self) -> list[Any]:
        """The other controls that show the current sound, which are set while it plays."""
        page = self.layout
        sound = [page.map, page.wav, page.flac, page.undo]
        source = [page.seed, page.first, page.second, page.position, page.takes, page.presets]
        return [*sound, *source, page.length, *page.axes.values()]

    def _plays(
        self,
        events: Sequence[Any],
        change: Callable[..., Sound],
        *inputs: gr.Component,
        dragged: gr.Component | None = None,
    ) -> None:
        """Let events play the sound that `change` returns for the session and the values of `inputs`.

        The control that is dragged is not set, and of the events while a sound is made, the last one counts.
        """

        def play(desk: Desk, turn: float, *values: object) -> list[Any]:
            return self._play(desk, turn, lambda: change(desk.session, *values), dragged=dragged)

        for event in events:
            self._sends(event, play, *inputs)

    def _sends(
        self,
        event: Callable[..., Any],
        function: Callable[..., list[Any]],
        *inputs: gr.Component,
        outputs: Sequence[Any] | None = None,
        trigger_mode: str = "always_last",
    ) -> None:
        """Let an event call a function with the desk, the time of the event, and the values of `inputs`."""
        inputs = (self.desk, self.layout.turn, *inputs)
        event(function, inputs, outputs or self._heard, js=_IN_TURN, trigger_mode=trigger_mode, **_QUIETLY)

    def _clicked(self, desk: Desk, turn: float, hold: object, event: gr.EventData) -> list[Any]:
        index = getattr(event, "index", None)
        return self._play(desk, turn, lambda: self.actions.recording(desk.session, index, hold))

    def _undone(self, desk: Desk, turn: float) -> list[Any]:
        return self._play(
            desk, turn, lambda: desk.session.undo().require(), lambda session, _: session.undo()
        )

    def _dropped(
        self, desk: Desk, turn: float, file: object, first: object, position: object, hold: object
    ) -> list[Any]:
        def added() -> Sound:
            path = Path(str(file))
            recording = self.instrument.add(path, path.name)
            session = desk.change(lambda session: session.add(recording))
            return self.actions.morph(session, first, key_of(recording), position, hold)

        return [*self._play(desk, turn, added), None]

    def _play(
        self,
        desk: Desk,
        turn: float,
        choose: Callable[[], Sound],
        change: Callable[[Session, Sound], Session] = Session.play,
        *,
        dragged: gr.Component | None = None,
    ) -> list[Any]:
        """Return the updates of `_heard` that play the sound that is chosen, after changing the session.

        The sound is made first, so that one that cannot be made changes nothing. Nothing is played either if
        another control was used since.
        """

        def made() -> list[Any]:
            sound = choose()
            waveform, rate = self.instrument.waveform(sound), self.instrument.model.sample_rate
            playable = to_play(waveform, rate, title=str(sound), turn=turn)
            if not desk.change_at(turn, lambda session: change(session, sound), dragged=dragged):
                return [gr.skip()] * len(self._heard)
            # Their files are those of the sound before.
            return [playable, _message(turn, ""), *[gr.update(interactive=False)] * 2]

        shown, problem = _tried(made)
        return [gr.skip(), _message(turn, problem), gr.skip(), gr.skip()] if shown is None else shown

    def _shown(self, desk: Desk) -> list[Any]:
        """Return the updates of `_seen` that show the current sound, but for the control that is dragged."""
        updates = {} if desk.session.sound is None else self._updates(desk.session, desk.session.sound)
        return [gr.skip() if each is desk.dragged else updates.get(each, gr.skip()) for each in self._seen]

    def _updates(self, session: Session, sound: Sound) -> dict[Any, Any]:
        """Return the updates of the controls that show a sound, by control."""
        page = self.layout
        wav, flac = write_files(self.folder, self.instrument, sound, self.instrument.waveform(sound))
        seconds = self.instrument.seconds(sound)
        updates: dict[Any, Any] = {
            page.map: json.dumps(self._here(sound)),
            page.wav: gr.update(value=str(wav), interactive=True),
            page.flac: gr.update(value=str(flac), interactive=True),
            page.undo: gr.update(interactive=bool(session.before)),
            page.length: gr.update(value=round(seconds, 2), interactive=True),
            page.takes: gr.update(value=None),  # so that one can be chosen again
            page.presets: gr.update(value=None),
        }
        shifts = dict(sound.axes)
        for axis, slider in page.axes.items():
            updates[slider] = gr.update(value=shifts.get(axis, 0), interactive=True)
        match sound.source:
            case Random(seed=seed):
                updates[page.seed] = seed
            case Between(first=first, second=second, position=position):
                choices = self._choices(session)
                updates[page.first] = gr.update(choices=choices, value=key_of(first))
                updates[page.second] = gr.update(choices=choices, value=key_of(second))
                updates[page.position] = position
        return updates

    def _choices(self, session: Session) -> list[tuple[str, str]]:
        own = [(f"{each.name} (yours)", key_of(each)) for each in reversed(session.own)]
        return [*own, *((name, f"{OF_RUN}{name}") for name in self.instrument.names)]

    def _here(self, sound: Sound) -> list[int]:
        """Return the points of the map that a sound is made of."""
        names = [each.name for each in recordings_of(sound.source) if not each.own]
        return [self.instrument.names.index(name) for name in names]

    def _kept(self, desk: Desk, turn: float, name: str) -> list[Any]:
        session, problem = _tried(lambda: desk.change(lambda session: session.keep(name)))
        if session is None:
            return [gr.skip(), gr.skip(), _message(turn, problem)]
        return [_listed([each.name for each in session.takes]), "", _message(turn, "")]

    def _forgotten(self, desk: Desk, turn: float, name: str) -> list[Any]:
        session = desk.change(lambda session: session.drop(name))
        return [_listed([each.name for each in session.takes]), gr.skip(), _message(turn, "")]

    def _saved(self, desk: Desk, turn: float, name: str) -> list[Any]:
        def saved() -> dict[str, Sound]:
            sound = desk.session.require()
            return save_preset(self.instrument.run, name or str(sound)[:LONGEST_NAME], sound)

        presets, problem = _tried(saved)
        if presets is None:
            return [gr.skip(), gr.skip(), _message(turn, problem)]
        return [_listed([*presets]), "", _message(turn, "")]

    def _removed(self, _: Desk, turn: float, name: str) -> list[Any]:
        presets, problem = _tried(lambda: remove_preset(self.instrument.run, name))
        listed = _listed([*presets]) if presets is not None else gr.skip()
        return [listed, gr.skip(), _message(turn, problem)]

    def _opened(self) -> list[Any]:
        presets, problem = _tried(lambda: load_presets(self.instrument.run))
        return [_listed([*(presets or ())]), _message(0, problem)]


def _tried(change: Callable[[], _Result]) -> tuple[_Result | None, str]:
    """Return the result of a function and an empty text, or None and what went wrong."""
    try:
        return change(), ""
    except DistillError as error:
        return None, str(error)
    except Exception:  # noqa: BLE001  # the page goes on, and the traceback is in the terminal
        _log.exception("a control of the page failed")
        return None, "Something went wrong in Distill. The terminal has the details."


def _message(turn: float, text: str) -> str:
    """Return a message for the page as JSON. A message that a later turn overtakes is not shown."""
    return json.dumps({"turn": turn, "text": text})


def _listed(names: list[str]) -> dict[str, Any]:
    """Return the update of a list of what is kept, of which none is chosen."""
    return gr.update(choices=names, value=None, visible=bool(names))
