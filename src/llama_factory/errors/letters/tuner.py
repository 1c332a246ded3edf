"""The letters of `tuner`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "tuner.no-room": Letter(
        en="expected a prompt shorter than `max_length`, {limit} tokens for prompt and answer together; found {found}.",
        en_cure="Raise `max_length`, or give `max_new_tokens`, which counts the answer alone.",
        zh="提示应短于 `max_length`（提示与回答共 {limit} 个词元），实际为 {found} 个词元。",
        zh_cure="请增大 `max_length`，或改用只计算回答的 `max_new_tokens`。",
    ),
}
