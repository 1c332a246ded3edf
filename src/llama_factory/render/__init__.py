"""Messages to tokens and back: `load_renderer(folder)` gives the one object that training, chat and export share."""

from llama_factory.render.renderer import Renderer, load_renderer, renderer_for
from llama_factory.render.templates import template_names

__all__ = ["Renderer", "load_renderer", "renderer_for", "template_names"]
