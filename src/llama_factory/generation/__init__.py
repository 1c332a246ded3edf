"""Prompts to completions: one `Engine`, fed with token ids, that can be stopped after any token.

`TransformersEngine` computes with the module that it is given; `Sampling` says how the next token is chosen;
`decode_stream` turns ids into text as they come. Nothing here renders messages: prompts are ids.
"""

from llama_factory.generation.engine import Engine, Finish, TransformersEngine
from llama_factory.generation.sampling import Sampling, sampling_from
from llama_factory.generation.text import decode_stream

__all__ = ["Engine", "Finish", "Sampling", "TransformersEngine", "decode_stream", "sampling_from"]
