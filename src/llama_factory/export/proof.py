"""Is what was written what was trained? Logits compared, and how large a difference is honest.

Three comparisons, all in float32 arithmetic, on the same lists of token ids:
1. merged weights against the adapter on its base. The two add the same numbers in another order: only float32's
   own noise may lie between them.
2. the files, opened by plain transformers in a clean process, against the same files opened here: again only
   float32's noise.
3. the files in the clean process against the adapter on its base: the figure that counts. Between these lies the
   rounding of the merged weights to the files' dtype, and nothing else.

How much noise that makes depends on the model, so it is measured on it: its weights are disturbed at random by as
much as rounding may move them (half a unit in the last place, relative 2**-24 for float32, 2**-8 for bfloat16), and
what that does to the logits is the noise. One draw of it scatters: over five draws on SmolLM2 the largest gap in a
logit varied fivefold. So MARGIN times the measured noise is allowed, and its square for KL, which grows with the
square of a disturbance. A fault too small for 3 to see is seen by 1, by 2, or by the bitwise reading back in `merge`.

In: a module, lists of token ids. Out: differences as numbers, or a ProofError. Nothing is rendered here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import ProofError

if TYPE_CHECKING:
    from torch import Tensor, nn

SCRIPT = Path(__file__).with_name("reopen.py")
MARGIN = 8.0
FLOOR = 64 * 2.0**-24
"""Relative; a sum of products in another order may differ by this much where the measured noise happens to be nil."""
PROMPTS = 3
PROMPT_TOKENS = 16
TEXTS = (
    "你好,请介绍一下你自己。Who are you?",
    "def area(r):\n    return 3.14159 * r ** 2  # naïve",
)


@dataclass(frozen=True)
class Difference:
    """Of two sets of logits over all positions: the largest, the mean KL divergence, how often the winner agrees."""

    max_abs: float
    kl: float
    same_winner: float

    def allowed(self, largest: float) -> Difference:
        """This difference taken as noise: what may be met at most, beside logits as large as `largest`."""
        return Difference(max(MARGIN * self.max_abs, FLOOR * largest), max(MARGIN**2 * self.kl, FLOOR**2), 0.0)

    def within(self, limit: Difference) -> bool:
        return self.max_abs <= limit.max_abs and self.kl <= limit.kl


def random_prompts(vocabulary: int, window: int | None, *, seed: int = 20260101) -> list[list[int]]:
    """Token ids from all over the vocabulary, the same ones every time."""
    import torch

    length = min(PROMPT_TOKENS, window or PROMPT_TOKENS)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(vocabulary, (PROMPTS, length), generator=generator)
    return [[int(id) for id in row] for row in rows]


def logits(model: nn.Module, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    """float32 logits at every position of every prompt, each computed alone, on the CPU."""
    import torch

    device = cast(Any, model).get_input_embeddings().weight.device
    with torch.inference_mode():
        found = [model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0] for ids in prompts]
        return [one.float().cpu() for one in found]


def compare(reference: Sequence[Tensor], other: Iterable[Tensor]) -> Difference:
    """KL is KL(reference || other), in float64: at these sizes float32 would only see its own rounding."""
    import torch

    largest = total = 0.0
    agree = count = 0
    for one_TV, two_TV in zip(reference, other, strict=True):
        gap = float((one_TV - two_TV).abs().max())
        largest = max(largest, gap) if gap == gap else float("inf")
        log_p = torch.log_softmax(one_TV.double(), dim=-1)
        log_q = torch.log_softmax(two_TV.double(), dim=-1)
        total += float((log_p.exp() * (log_p - log_q)).sum())
        agree += int((one_TV.argmax(-1) == two_TV.argmax(-1)).sum())
        count += len(one_TV)
    kl = max(0.0, total / count) if total == total else float("inf")
    return Difference(largest, kl, agree / count)


def noise(
    model: nn.Module, names: Iterable[str], prompts: Sequence[Sequence[int]], reference: Sequence[Tensor], dtype: str
) -> Difference:
    """What rounding the weights `names` to `dtype` may do to the logits.

    The weights stay disturbed: a copy to put back would cost the memory of a second model. So this comes last,
    finest dtype first.
    """
    import torch

    half_unit = torch.finfo(getattr(torch, dtype)).eps / 2
    generator = torch.Generator().manual_seed(1)
    own = dict(model.named_parameters())
    chosen = [own[name] for name in names if name in own]
    with torch.no_grad():
        for parameter in chosen:
            shake = torch.empty(parameter.shape).uniform_(-half_unit, half_unit, generator=generator)
            parameter.mul_(1 + shake.to(parameter.device))
    return compare(reference, logits(model, prompts))


@dataclass(frozen=True)
class Reopened:
    """What the clean process found."""

    logits: list[Tensor]
    said: Mapping[str, Any]


def reopen(
    folder: Path,
    prompts: Sequence[Sequence[int]],
    *,
    messages: Sequence[Sequence[Mapping[str, str]]] = (),
    trust_remote_code: bool = False,
) -> Reopened:
    """Open `folder` with plain transformers in a new interpreter that sees neither this project nor a network."""
    from safetensors.torch import load_file

    asked = {"ids": prompts, "messages": messages, "trust_remote_code": trust_remote_code}
    with tempfile.TemporaryDirectory(prefix="llama-factory-proof-") as name:
        questions, answers = Path(name) / "questions.json", Path(name) / "answers"
        questions.write_text(json.dumps(asked), encoding="utf-8")
        ask(folder.resolve(), questions, answers)
        said = json.loads(answers.with_suffix(".json").read_text("utf-8"))
        found = load_file(answers.with_suffix(".safetensors"))
    lost = [*said["missing"], *said["mismatched"]]
    if lost:
        raise ProofError("export.reopened-incomplete", where=folder.name, count=len(lost), found=", ".join(lost[:5]))
    return Reopened([found[str(number)].clone() for number in range(len(prompts))], said)


def ask(folder: Path, questions: Path, answers: Path) -> None:
    """Run the script: `-I` keeps this project, its folder and Python's own variables out of the new process."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(  # noqa: S603  our own script, and paths as arguments of their own
        [sys.executable, "-I", str(SCRIPT), str(folder), str(questions), str(answers)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise ProofError("export.will-not-reopen", where=folder.name, found=lines[-1].strip())
