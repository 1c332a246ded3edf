"""YAML, JSON, words of a command line, keyword arguments -> one frozen `Run`.

`load` and `from_mapping` make a run, `require` says what a command still needs, `fields`, `explain`,
`starter` and `json_schema` tell people and editors about the keys. All of it comes from one place: the
fields of the sections, and the tables of `vocabulary` for the names beside them.
"""

from __future__ import annotations

from llama_factory.config.gather import from_mapping, load
from llama_factory.config.manual import KeyInfo, explain, fields, json_schema
from llama_factory.config.require import require
from llama_factory.config.run import Run
from llama_factory.config.starter import starter

__all__ = ["KeyInfo", "Run", "explain", "fields", "from_mapping", "json_schema", "load", "require", "starter"]
