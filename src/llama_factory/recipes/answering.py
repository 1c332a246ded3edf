"""A model that answers: from a configuration to a renderer, an engine and a way to choose tokens, all loaded.

In: a `Run`. Out: an `Answerer`, which turns one prompt into one answer. What was found on the way goes through
`say`. It remembers nothing that was said: a conversation is a matter of the faces above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llama_factory import machine
from llama_factory.errors import Language
from llama_factory.generation import Finish, Sampling, TransformersEngine, decode_stream, sampling_from
from llama_factory.generation.text import UNFINISHED
from llama_factory.model import adapters, vocabulary, window
from llama_factory.model.load import load_config, load_for
from llama_factory.model.locate import Folders, locate_for
from llama_factory.model.quantised.asked import asked_by, differing, require_base, rounded_base
from llama_factory.model.taught import require_template
from llama_factory.recipes.outcome import Say, tell
from llama_factory.records import Finding, Message
from llama_factory.render import Renderer, renderer_for

if TYPE_CHECKING:
    from llama_factory.config import Run


@dataclass(frozen=True)
class Answerer:
    """model_settings: the model's own `generation_config`, which decides what nobody asked for.

    window: tokens that the model can look back on; a few kinds name no limit.
    """

    renderer: Renderer
    engine: TransformersEngine
    model_settings: Any
    window: int | None

    def sampling(self, run: Run) -> Sampling:
        """How tokens are chosen for this run: drawn anew each time, unless it gives a `seed`."""
        seed = run.training.seed if "seed" in run.given else None
        return sampling_from(run.generation, self.model_settings, seed=seed)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The prompt as the user's turn of the model's template, as it was in training."""
        return self.renderer.prompt([Message("user", prompt)])

    def answer(self, prompt_ids: list[int], sampling: Sampling) -> str:
        """The answer's text. Half a character at the end of one that was cut off is left out."""
        finish = Finish("cancelled")

        def ids() -> Iterator[int]:
            nonlocal finish
            finish = yield from self.engine.stream(prompt_ids, sampling)

        text = "".join(decode_stream(self.renderer, ids()))
        return text if finish.reason == "stop" else text.rstrip(UNFINISHED)


def answerer_of(run: Run, say: Say, language: Language, *, loading: Callable[[], None] = lambda: None) -> Answerer:
    """Base, adapters, tokenizer and template of `run`, loaded for answering.

    loading: called once all of them are found, before what takes time.
    """
    folders = locate_for(run)
    renderer = renderer_for(run, folders.tokenizer or folders.base)
    another = require_template(run, folders, renderer)
    require_base(folders.adapters, asked_by(run))
    loading()
    machine.torch_setup()
    device = machine.pick_device(run.model.device_map)
    said = list[Finding]()
    dtype = number_format(run, folders, device)
    longer = window.for_use(run, folders.base, folders.adapters)
    grown = vocabulary.for_use(folders.adapters)
    model = load_for(run, folders.base, dtype=dtype, device=device, say=said.append, longer=longer, grown=grown)
    if folders.adapters:
        opened = adapters.open(model, folders.adapters, folders.base)
        model, said = opened.module, [*said, *opened.said, *differing(folders.adapters, asked_by(run))]
    tell(say, (*said, *renderer.notices, *another), language)
    described = cast(Any, model)
    limit = getattr(described.config.get_text_config(), "max_position_embeddings", None)
    seen = limit - adapters.learned_tokens(model) if isinstance(limit, int) and limit > 0 else None
    return Answerer(
        renderer,
        TransformersEngine(model, renderer.stop_ids, tokens=vocabulary.needed_by(renderer)),
        described.generation_config,
        seen,
    )


def number_format(run: Run, folders: Folders, device: str) -> str:
    """What the user asked for; else the model's own, where this machine computes in it; else fp32.

    An adapter that began with LoftQ stands on weights quantised from one format, which is the own one then.
    """
    if run.model.infer_dtype != "auto":
        return run.model.infer_dtype
    rounded = rounded_base(folders.adapters)
    said = load_config(folders.base, trust_remote_code=run.model.trust_remote_code).dtype
    own = str(said).removeprefix("torch.") if rounded is None else rounded.dtype
    if own not in ("bfloat16", "float16"):
        return "float32"
    return machine.pick_precision(own == "bfloat16", own == "float16", False, device=device).compute
