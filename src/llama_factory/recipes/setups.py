"""A run in the planner's words: its method, its optimiser, and the form in which its base lies there.

In: a run, the shape of its model, the lengths of a micro-batch. Out: a frozen `Setup`, from which every formula of the
`planner` room follows. It reads keys and counts; it asks no machine and loads nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory import data, machine
from llama_factory.config.bits import bytes_per_weight
from llama_factory.config.optimizers import OPTIMIZERS, state_bytes
from llama_factory.config.sections.method import PROMPTS as PROMPT_KINDS
from llama_factory.model import expansion
from llama_factory.model.methods.prompts import TOKENS
from llama_factory.model.native.making import NEEDS
from llama_factory.model.quantised.asked import asked_by
from llama_factory.model.quantised.checkpoints import Form
from llama_factory.planner.setup import HALF, PROMPTS, SINGLE, Setup
from llama_factory.records import ModelShape

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.model.vocabulary import Growth


def setup_of(
    run: Run,
    shape: ModelShape,
    lengths: tuple[int, ...],
    supervised: float,
    *,
    number: int,
    cpu: bool = True,
    free: int = 0,
    lying: Form | None = None,
    grown: Growth | None = None,
) -> Setup:
    """The run, as the planner's formulas take it.

    lying: the form in which the base's own files hold its layers, where that is in few bits. grown: rows for new
    tokens, which the shape has already (`with_rows`).
    """
    method, training = run.method, run.training
    bits, each = _quantised(run, lying, number) or (8 * number, 0.0)
    master = HALF if training.pure_bf16 else SINGLE
    rows = data.rows_per_step(run)
    kind = method.finetuning_type
    beside, before = _prompts(run, shape) if kind in PROMPT_KINDS else (_beside(run, shape, grown), 0)
    return Setup(
        method=PROMPTS if kind in PROMPT_KINDS else kind,
        bits=bits,
        each=each,
        lengths=lengths,
        supervised=supervised,
        micro_batches=max(1, round(rows / len(lengths))),
        number=number,
        master=master,
        state=_state(run, shape, master),
        active=_active(run, shape),
        beside=beside,
        before=before,
        rank=method.lora.lora_rank,
        targets=tuple(method.lora.lora_target),
        block=method.oft.oft_block_size,
        layers=method.freeze.freeze_trainable_layers,
        blocks=_blocks(run),
        modules=tuple(method.freeze.freeze_trainable_modules),
        reference=training.loss.kind == "asft" and not method.adapts,
        checkpointing=bool(training.gradient_checkpointing),
        fused=run.model.fused_layers and not (method.lora.lora_dropout or method.lora.use_dora),
        native=cpu and run.model.fused_layers and machine.compiles(NEEDS),
        rounds=_rounds(run, lying),
        cpu=cpu,
        free=free,
    )


def with_rows(shape: ModelShape, grown: Growth | None) -> ModelShape:
    """The model once it has rows for new tokens."""
    return shape if grown is None else replace(shape, vocab=grown.rows)


def new_blocks(run: Run, base: Path) -> int:
    """How many blocks LLaMA Pro puts into the model that lies in this folder; 0 where they are there already."""
    wanted = _blocks(run) if run.method.freeze.llama_pro_blocks else 0
    return 0 if expansion.already(base) == wanted else wanted


def _blocks(run: Run) -> int:
    """New blocks of LLaMA Pro, to be put in or there already."""
    freeze = run.method.freeze
    if run.method.finetuning_type != "freeze" or not freeze.use_llama_pro:
        return 0
    return freeze.llama_pro_blocks or max(0, freeze.freeze_trainable_layers)


def _state(run: Run, shape: ModelShape, master: int) -> float:
    """Bytes that the optimiser keeps for a number that learns now, on average."""
    optimizer, lora = run.training.optimizer, run.method.lora
    if optimizer.kind == "badam_layer":  # moments and its own copy, in fp32 whatever the masters are
        return OPTIMIZERS[optimizer.kind].state
    ratio = optimizer.badam.badam_update_ratio
    sizes: list[tuple[int, int]] = []
    for layer in shape.layers:
        for one in layer.linears:
            whole = (one.outputs, one.inputs)
            halves = [(lora.lora_rank, one.inputs), (one.outputs, lora.lora_rank)]
            sizes += halves if run.method.finetuning_type == "lora" else [whole]
    kept = sum(state_bytes(optimizer.kind, size, rank=optimizer.rank, ratio=ratio) for size in sizes)
    return kept / sum(rows * columns for rows, columns in sizes) * master / SINGLE


def _active(run: Run, shape: ModelShape) -> int:
    """Numbers that BAdam trains at a time, with gradients: the largest layer, or a share of all layers."""
    kind = run.training.optimizer.kind
    if kind == "badam_layer":
        return max(layer.parameters for layer in shape.layers)
    return sum(layer.count * layer.parameters for layer in shape.layers) if kind == "badam_ratio" else 0


CHARACTERS = 4
"""Of a token in a text whose tokens nobody has counted yet."""


def _prompts(run: Run, shape: ModelShape) -> tuple[int, int]:
    """Numbers that learned tokens and the network behind them have, and tokens that every row gets before it."""
    asked, width = run.method.prompts, shape.hidden
    text = len(asked.prompt_init_text or "") // CHARACTERS
    tokens, inner = asked.num_virtual_tokens or text or TOKENS, asked.encoder_hidden_size or width
    if run.method.finetuning_type == "prefix_tuning":
        pairs, narrow = 2 * shape.depth * shape.kv_heads * shape.key_width, shape.kv_heads * shape.key_width
        if not asked.prefix_projection:
            return tokens * pairs, 0
        return tokens * narrow + _linear(narrow, inner) + _linear(inner, pairs), 0
    if run.method.finetuning_type == "prompt_tuning":
        return tokens * width, tokens
    if asked.encoder_reparameterization_type == "mlp":
        return tokens * width + _linear(width, inner) + _linear(inner, inner) + _linear(inner, width), tokens
    gates = sum(2 * 4 * inner * (inputs + inner + 2) for inputs in (width, 2 * inner))  # two layers, both ways
    return tokens * width + gates + _linear(2 * inner, 2 * inner) + _linear(2 * inner, width), tokens


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _beside(run: Run, shape: ModelShape, grown: Growth | None) -> int:
    """Numbers that learn beside adapters or layers, of an embedding and the head, which are one if tied.

    Both learn whole where they were asked for, and with `freeze` where they have rows for new tokens; with LoRA such
    rows learn alone in what does not.
    """
    method = run.method
    more = {"lora": method.lora.additional_target, "freeze": method.freeze.freeze_extra_modules}
    names = more.get(method.finetuning_type, ())
    heads = {name for name in names if name.endswith(("lm_head", "embed_out"))}
    embeddings = {name for name in names if name.endswith(("embed_tokens", "wte"))}
    count = bool(heads or embeddings) if shape.tied else bool(heads) + bool(embeddings)
    rows = 0 if grown is None else {"lora": len(grown.ids), "freeze": shape.vocab}.get(method.finetuning_type, 0)
    return count * shape.head + ((1 if shape.tied else 2) - count) * rows * shape.hidden


def _rounds(run: Run, lying: Form | None) -> bool:
    """Whether the layers round what they read (`model.quantised.guards.rounds_inputs` asks the layers themselves)."""
    form = asked_by(run) or lying
    return form is not None and (form.method, form.bits) == ("bitsandbytes", 8)


def _quantised(run: Run, lying: Form | None, number: int) -> tuple[int, float] | None:
    """Bits of the frozen weights in the layers, and bytes of one with its share of the scales. None: as computed with.

    GPTQ and AWQ have a scale in 16 bits, and an offset as narrow as the weights, for each group.
    """
    asked = asked_by(run)
    if asked is not None:
        return asked.bits, bytes_per_weight(asked.bits, asked.method, double=asked.double, scale_bytes=number)
    if lying is None:
        return None
    if lying.method == "bitsandbytes":
        return lying.bits, bytes_per_weight(lying.bits, lying.method)
    group = max(0, lying.group_size or 0)
    return lying.bits, lying.bits / 8 + ((HALF + lying.bits / 8) / group if group else 0.0)
