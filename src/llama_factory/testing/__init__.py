"""Small models for tests and for authors of plug-ins: seconds, not gigabytes.

`tiny_model("llama")` is any causal language model of transformers, shrunk to a few thousand numbers and
filled so that every part of it shows in its output. `prove("llama")` says which of the policy's ways
equal the plain forward for it. Nothing here is imported by the program itself.
"""
