"""`LLaMATuner`: the same program from Python, in the three calls that the tutorial prints.

In: names of a model and keyword arguments, each a key of the YAML file in any spelling that the file knows.
Out: what `recipes.train` returns, and answers as text. Keys are read, checked and explained by `config`; nothing
is trained or answered here. Deliberately without state on the disk beside the run's own folder.

    tuner = LLaMATuner(model_name="models/SmolLM2-135M-Instruct")
    tuner.train(train_data="train.jsonl", use_lora=True, learning_rate=1e-4)
    print(tuner.generate("Who are you?", max_length=100))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.config import Run, fields, from_mapping, require
from llama_factory.config.gather import leaf_of
from llama_factory.errors import InputError, Language
from llama_factory.machine.processes import refuse_many
from llama_factory.recipes.outcome import Say, tell

if TYPE_CHECKING:
    from llama_factory.recipes import Outcome
    from llama_factory.recipes.answering import Answerer

METHOD = frozenset({"use_lora", "finetuning_type", "finetuning_method"})
MEASURED = frozenset({
    "eval_strategy", "do_eval", "early_stopping", "early_stopping_steps", "load_best_model_at_end"
})  # fmt: skip


class LLaMATuner:
    """A model by its name, that can be trained and asked.

    model_name: a folder with safetensors, or a name on the hub. tokenizer_name: where the tokenizer lies, if not
    there. device_map: "auto" | "cuda" | "cpu". trust_remote_code: run Python code that the model's authors ship.
    keys: any other key of the configuration that training and answering share (`template`, `default_system`, ...).
    say: gets every line that the commands would print. The weights are loaded when they are first needed.
    """

    def __init__(
        self,
        model_name: str,
        tokenizer_name: str | None = None,
        device_map: str | None = None,
        trust_remote_code: bool = False,
        *,
        say: Say = print,
        language: Language = "en",
        **keys: Any,
    ) -> None:
        own = {
            "model_name_or_path": str(model_name),
            "tokenizer_name": tokenizer_name,
            "device_map": device_map,
            "trust_remote_code": trust_remote_code,
        }
        self._say = say
        self._language: Language = language
        self._base = _plain({key: value for key, value in own.items() if value is not None} | keys)
        self._answers_with = self._base
        self._answerer: Answerer | None = None
        require(from_mapping(self._base, "LLaMATuner(...)"), "chat")

    def train(
        self,
        train_data: str | Path,
        eval_data: str | Path | None = None,
        output_dir: str | Path | None = None,
        **keys: Any,
    ) -> Outcome:
        """Train as `llamafactory-cli train` does with the same keys; `generate` then answers with the result.

        Without `output_dir` a new one is made, named after the model and the time. Which weights learn:
        `use_lora` or `finetuning_type` say it; else any `lora_...` key means LoRA; else all of them, as in the
        tutorial's plain call. `eval_data` without a word on when it is measured: after every epoch.

        Every call begins with the constructor's model. The same call again goes on where it was interrupted, and
        does nothing more once it is done. Raises LlamaFactoryError.
        """
        from llama_factory import recipes

        refuse_many(os.environ)
        given: dict[str, Any] = {"train_data": str(train_data), **keys}
        if eval_data is not None:
            given["eval_data"] = str(eval_data)
        names = {_name(key) for key in (*self._base, *given)}
        if not names & METHOD:
            given["finetuning_type"] = "lora" if any(name.startswith("lora_") for name in names) else "full"
        if "eval_dataset" in names and not names & MEASURED:
            given |= {"eval_strategy": "steps"} if "eval_steps" in names else {"do_eval": True}
        given["output_dir"] = str(output_dir) if output_dir is not None else _dated(self._base["model_name_or_path"])
        run = from_mapping(_over(self._base, given), "LLaMATuner.train(...)")
        tell(self._say, (notice for notice in run.notices if notice.id != "config.alias"), self._language)
        self._answerer = None  # its memory is needed now
        outcome = recipes.train(run, say=self._say, language=self._language)
        for line in outcome.lines:
            self._say(line)
        self._answers_with = _trained(run, outcome.folder)
        return outcome

    def generate(self, prompt: str, max_length: int | None = None, **keys: Any) -> str:
        """The answer to `prompt`, given as the user's turn of the model's template; no memory of other prompts.

        max_length: tokens of prompt and answer together, the template's own among them, as `generate` of
        transformers counts. A prompt that leaves no room for an answer is refused. Without it an answer has at
        most 1024 tokens. keys: `max_new_tokens`, `temperature`, `do_sample`, `seed` and the like.
        """
        given = dict(keys) if max_length is None else {"max_length": max_length, **keys}
        run = from_mapping(_over(self._answers_with, given), "LLaMATuner.generate(...)")
        answerer = self._loaded()
        ids, sampling = answerer.prompt_ids(prompt), answerer.sampling(run)
        if sampling.max_length is not None and len(ids) >= sampling.max_length:
            raise InputError("tuner.no-room", where=run.source, found=len(ids), limit=sampling.max_length)
        return answerer.answer(ids, sampling)

    def _loaded(self) -> Answerer:
        if self._answerer is None:
            from llama_factory import machine

            machine.keep_memory()  # before torch is first imported, which is now
            from llama_factory.recipes.answering import answerer_of

            run = from_mapping(self._answers_with, "LLaMATuner(...)")
            self._answerer = answerer_of(run, self._say, self._language)
        return self._answerer


def _name(spelled: str) -> str:
    """The key that a spelling stands for; names that are no key keep theirs, and `config` refuses them."""
    leaf = leaf_of(spelled)
    return leaf.name if leaf else spelled


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys under their own names. Two spellings of one key are left as they are, for `config` to refuse."""
    plain = {_name(key): value for key, value in keys.items()}
    return plain if len(plain) == len(keys) else dict(keys)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What a call says goes over what the tuner was made with."""
    said = {_name(key) for key in above}
    return {key: value for key, value in below.items() if key not in said} | dict(above)


def _trained(run: Run, folder: Path) -> dict[str, Any]:
    """What a run that answers with the result says: the keys that chat reads, with the result for its model."""
    about = fields()
    keys = {key: run.value(key) for key in run.given if "chat" in about[key].commands and key != "tokenizer_name"}
    keys = {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()}
    if "seed" in run.given:
        keys["seed"] = run.training.seed
    place, given = str(folder.absolute()), run.model.adapter_name_or_path
    if not run.method.adapts:
        return keys | {"model_name_or_path": place}
    beneath = given[:-1] if run.trains_further else given
    return keys | {"adapter_name_or_path": [*beneath, place]}


def _dated(model: str) -> str:
    """A folder that is not there yet: `saves/SmolLM2-135M-Instruct-20260131-142530`."""
    name = Path(model).resolve().name if Path(model).is_dir() else model.rpartition("/")[2]
    wanted = Path("saves") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return str(folder)
