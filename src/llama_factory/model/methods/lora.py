"""LoRA and its variants: small matrices beside frozen linear layers, put there by peft.

In: a loaded model and the keys of LoRA. Out: the same model with adapters in it that change nothing yet, but for
LoftQ's, which bring a quantised model nearer to what it was. The layers that compute an adapter and its layer in one
piece stand in `model/lora.py`; which layers are meant is found in `targets`. Merging is `export`'s.

LoRA (arXiv 2106.09685): y = W x + s B A x with s = alpha / r; rsLoRA (arXiv 2312.03732): s = alpha / sqrt(r);
DoRA (arXiv 2402.09353): a number for each output is the length of that row of W + s B A; LoRA+ (arXiv 2402.12354):
B learns faster than A; PiSSA: `pissa`; LoftQ: `loftq`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError
from llama_factory.model.methods import loftq, pissa
from llama_factory.model.methods.names import head_name, is_conv1d, is_tied
from llama_factory.model.methods.start import Made, Start
from llama_factory.model.methods.targets import embedding_name, matches_any, targets_of, whole_names
from llama_factory.model.quantised import guards
from llama_factory.records import Finding

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Generator, Tensor, nn

    from llama_factory.config.sections.adapters import Lora
    from llama_factory.config.sections.method import Method


TRAINED = "default"
"""What peft calls an adapter that is given no name: the one that learns."""


def look(model: nn.Module, method: Method) -> None:
    _config(model, method.lora, [])


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    import torch
    from peft import inject_adapter_in_model

    from llama_factory.model import lora, upstream

    said = list[Finding]()
    config = _config(model, method.lora, said, start.new_ids)
    if start.fused:
        lora.use_fused(config, model)
    inject_adapter_in_model(config, cast(Any, model))
    generator = torch.Generator().manual_seed(start.seed)
    dtype = getattr(torch, start.compute_dtype)
    for layer in upstream.token_rows(model):
        upstream.compute_rows_apart(layer)
        rows = layer.trainable_tokens_delta[TRAINED]
        rows.data = rows.data.to(dtype=dtype)
        rows.requires_grad_(True)
    for name, parameter in sorted(new_parameters(model)):
        values = _drawn(name, parameter, generator)
        parameter.data = (parameter if values is None else values).data.to(device=parameter.device, dtype=dtype)
        parameter.requires_grad_(True)
    if method.lora.pissa_init:
        pissa.begin(model, config, method.lora.pissa_iter, generator, TRAINED)
    if method.lora.loftq_init:
        said.append(loftq.begin(model, start.base, generator, TRAINED))
    return Made(model, said)


def rate_factors(model: nn.Module, settings: Lora, learning_rate: float) -> dict[str, float]:
    """LoRA+, by parameter name: B and all that is one number wide learn at `loraplus_lr_ratio` times the rate.

    Hayou et al. 2024 (arXiv 2402.12354), section 4; adapters of an embedding have a rate of their own.
    """
    if settings.loraplus_lr_ratio is None:
        return {}
    factors: dict[str, float] = {}
    for name, parameter in new_parameters(model):
        if ".lora_embedding_" in name:
            factors[name] = settings.loraplus_lr_embedding / learning_rate
        elif ".lora_B." in name or parameter.dim() == 1:
            factors[name] = settings.loraplus_lr_ratio
    return factors


def new_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What belongs to the adapter that learns, and is LoRA itself; modules that learn whole beside it are not."""
    own = ((name, value) for name, value in model.named_parameters() if ".lora_" in name)
    return ((name, value) for name, value in own if f".{TRAINED}." in name or name.endswith(f".{TRAINED}"))


def _config(model: nn.Module, settings: Lora, said: list[Finding], new_ids: tuple[int, ...] = ()) -> LoraConfig:
    """What peft is told. Raises whatever is wrong with the names. new_ids: of tokens whose rows learn."""
    from peft import LoraConfig

    targets = targets_of(model, tuple(settings.lora_target), said, key="lora_target", embeddings=True)
    whole = whole_names(model, tuple(settings.additional_target), targets)
    learns_bias = settings.lora_bias == "lora_only"
    guards.refuse_beside(model, learns_bias=learns_bias, dora=settings.use_dora, whole=whole)
    if learns_bias:
        _have_bias(model, targets)
    tied = is_tied(model) and _ties(model, whole)
    if tied:
        said.append(Finding("model.learn-as-one", "note", "additional_target", {"found": ", ".join(whole)}))
    return LoraConfig(
        r=int(settings.lora_rank),
        lora_alpha=int(settings.alpha),
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        lora_bias=learns_bias,
        target_modules=targets,
        modules_to_save=whole or None,
        trainable_token_indices=_rows(model, targets, whole, new_ids) or None,
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(is_conv1d(module) for module in model.modules()),
    )


def _rows(model: nn.Module, targets: list[str], whole: list[str], ids: tuple[int, ...]) -> dict[str, list[int]]:
    """The rows that learn, by the name of their module: of the embedding, and of a head that is another weight.

    None of a module that learns whole.
    """
    if not ids:
        return {}
    names = [embedding_name(model)] if is_tied(model) else [embedding_name(model), head_name(model)]
    adapted = next((name for name in names if name is not None and matches_any(name, targets)), None)
    if adapted is not None:
        raise InputError("model.tokens-and-lora", where="lora_target", found=adapted)
    if is_tied(model) and _ties(model, whole):
        return {}
    return {name: list(ids) for name in names if name is not None and name not in whole}


def _ties(model: nn.Module, whole: list[str]) -> bool:
    """Whether one of the modules is the embedding or the head, which share their weight."""
    shared = (cast(Any, model).get_input_embeddings(), cast(Any, model).get_output_embeddings())
    return any(model.get_submodule(name) in shared for name in whole)


def _have_bias(model: nn.Module, targets: list[str]) -> None:
    """The bias of an adapter can only be merged into a bias."""
    meant = [(name, module) for name, module in model.named_modules() if matches_any(name, targets)]
    bare = sorted({name.rpartition(".")[2] for name, module in meant if getattr(module, "bias", None) is None})
    if bare:
        have = sorted({name.rpartition(".")[2] for name, module in meant} - set(bare))
        values = {"found": ", ".join(bare), "known": ", ".join(have) or "-"}
        raise InputError("model.no-bias-to-learn", where="lora_bias", **values)


def _drawn(name: str, parameter: nn.Parameter, generator: Generator) -> Tensor | None:
    """peft's own start, drawn from a generator of our own: the same seed gives the same adapter whatever ran before.

    None for what follows from the weights, such as the lengths of DoRA.
    """
    import torch

    values = torch.empty(parameter.shape, dtype=torch.float32)
    if ".lora_A." in name:
        # kaiming_uniform with a = sqrt(5) is uniform within 1 / sqrt(fan_in).
        bound = 1 / math.sqrt(parameter.shape[1])
        return values.uniform_(-bound, bound, generator=generator)
    if ".lora_embedding_B." in name:
        return values.normal_(generator=generator)
    if ".lora_B." in name or ".lora_embedding_A." in name:
        return values.zero_()
    return None
