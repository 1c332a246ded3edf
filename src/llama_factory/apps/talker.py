"""From a configuration to a session that answers.

In: a `Run` and a screen that hears what is being loaded. Out: a `Session`, with the notes that a person should
read before the first question. The loading itself is `recipes.answering`'s; this file only introduces who is about
to answer, and prints no answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.apps.session import Session
from llama_factory.apps.words import said

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.config import Run

ADAPTER = "adapter_config.json"


def open_session(run: Run, screen: Screen) -> Session:
    """Everything that a question needs, loaded; what was found on the way is told on `screen`."""
    from llama_factory.generation import decode_stream
    from llama_factory.recipes.answering import answerer_of

    words = said("chat.loading", screen.language, model=run.model.model_name_or_path)
    answerer = answerer_of(run, screen.note, screen.language, loading=lambda: screen.note(words))
    introduce(run, screen)
    return Session(
        renderer=answerer.renderer,
        engine=answerer.engine,
        sampling=answerer.sampling(run),
        decode=partial(decode_stream, answerer.renderer),
        window=answerer.window,
    )


def introduce(run: Run, screen: Screen) -> None:
    """Who is about to answer: model, adapter, template; and an adapter that was perhaps forgotten."""
    language = screen.language
    added = ", ".join(run.model.adapter_name_or_path)
    screen.note(
        said(
            "chat.who",
            language,
            model=run.model.model_name_or_path,
            adapter=added or said("chat.none", language),
            template=run.data.template or said("chat.own-template", language),
        )
    )
    trained = run.training.output_dir
    if not added and trained is not None and (Path(trained) / ADAPTER).is_file():
        screen.note(said("chat.forgotten", language, folder=trained))
