"""From a configuration to a session that answers: find, load, put the adapters on, render, generate.

In: a `Run` and a screen that hears what is being loaded. Out: a `Session`, with the notes that a person should
read before the first question. The loading itself is `model`'s, `render`'s and `generation`'s; this file only
puts them together, and prints no answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.apps.session import Session
from llama_factory.apps.telling import tell
from llama_factory.apps.words import said

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.config import Run
    from llama_factory.render import Renderer

ADAPTER = "adapter_config.json"


def open_session(run: Run, screen: Screen) -> Session:
    """Everything that a question needs, loaded; what was found on the way is told on `screen`."""
    from llama_factory import machine
    from llama_factory.generation import TransformersEngine, decode_stream, sampling_from
    from llama_factory.model import adapters
    from llama_factory.model.load import load_for
    from llama_factory.model.locate import locate_for
    from llama_factory.render import renderer_for

    folders = locate_for(run)
    renderer = renderer_for(run, folders.tokenizer or folders.base)
    screen.note(said("chat.loading", screen.language, model=run.model.model_name_or_path))
    machine.torch_setup()
    device = machine.pick_device(run.model.device_map)
    model = load_for(
        run,
        folders.base,
        dtype=number_format(run, folders.base, device),
        device=device,
        say=lambda finding: tell((finding,), screen, screen.note),
    )
    if folders.adapters:
        tell(adapters.open(model, folders.adapters, folders.base).said, screen, screen.note)
    tell(renderer.notices, screen, screen.note)
    introduce(run, renderer, screen)
    seed = run.training.seed if "seed" in run.given else None  # unless asked, each answer is drawn anew
    return Session(
        renderer=renderer,
        engine=TransformersEngine(model, renderer.stop_ids),
        sampling=sampling_from(run.generation, cast(Any, model).generation_config, seed=seed),
        decode=partial(decode_stream, renderer),
        window=window(cast(Any, model).config),
    )


def introduce(run: Run, renderer: Renderer, screen: Screen) -> None:
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


def window(config: Any) -> int | None:
    """Tokens that the model can look back on; a few kinds name no limit."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def number_format(run: Run, base: Path, device: str) -> str:
    """What the user asked for; else the model's own, where this machine computes in it; else fp32."""
    from llama_factory import machine
    from llama_factory.model.load import load_config

    if run.model.infer_dtype != "auto":
        return run.model.infer_dtype
    own = str(load_config(base, trust_remote_code=run.model.trust_remote_code).dtype).removeprefix("torch.")
    if own not in ("bfloat16", "float16"):
        return "float32"
    return machine.pick_precision(own == "bfloat16", own == "float16", False, device=device).compute
