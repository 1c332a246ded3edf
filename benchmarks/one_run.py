"""One timed training run, in a process of its own: ours or the peer's, by the interpreter that starts it.

    python one_run.py ours|peer CONFIG.json RESULT.json

In: a flat configuration. Out: the time at the end of every step (seconds since 1970; of the processor since the start),
the real (unpadded) tokens trained on until then, the peak of the process's memory, and what it was run with. Both sides
are asked at the same place: when a step is done.

It is started by `sft_cpu.py` and `methods_cpu.py` and imports nothing of ours on the peer's side.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from installed import versions

READ_STEPS = 500
"""Steps that are read beside those of the run."""

PACKAGES = ("llamafactory", "llama-factory", "torch", "transformers", "peft", "accelerate", "trl", "datasets")


def main() -> None:
    side, config_file, result_file = sys.argv[1:]
    config = json.loads(Path(config_file).read_text())
    steps: list[dict[str, float]] = []
    data = (ours if side == "ours" else peer)(config, steps)
    told = {"steps": steps, "peak_bytes": peak_bytes(), "versions": versions(PACKAGES), "data": data}
    Path(result_file).write_text(json.dumps(told))


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def ours(config: dict[str, Any], steps: list[dict[str, float]]) -> dict[str, float]:
    """`recipes.train` as the command calls it, with one more listener. Also: what was done before the first step.

    Processor seconds of the rows (`data_s`), of the look at them (`audit_s`), of the plan (`plan_s`), and of reading
    READ_STEPS steps from the store and laying them out (`read_s`), with as many tokens as were read; and the peak
    before the model is loaded.
    """
    from llama_factory import machine, recipes
    from llama_factory.config import from_mapping

    run = from_mapping(config, "benchmark")
    machine.keep_memory()
    from llama_factory.recipes import sft
    from llama_factory.trainer.observers import Quiet

    tokens = 0
    usual, source_of, next_step = sft.observers_of, sft.source_of, sft.data.StepSource.next_step
    found: dict[str, float] = {}

    def timed(name: str, usual: Any) -> Any:
        def measured(*words: Any, **named: Any) -> Any:
            began = time.process_time()
            result = usual(*words, **named)
            found[name] = time.process_time() - began
            return result

        return measured

    prepare = timed("data_s", sft.data.prepare)

    def prepared(*words: Any, **named: Any) -> Any:
        rows = prepare(*words, **named)
        found.update(rows=len(rows.train), data_tokens=rows.train.tokens)
        return rows

    def sourced(*words: Any) -> Any:
        """The run's source, after another one like it was read from."""
        if config.get("max_steps", 0) > 0:
            began, twin = time.process_time(), source_of(*words)
            read = [next_step(twin).tokens for _ in range(min(READ_STEPS, twin.steps_per_epoch))]
            found.update(read_s=time.process_time() - began, read_tokens=sum(read), rows_peak_gb=peak_bytes() / 1e9)
        return source_of(*words)

    class Clock(Quiet):
        def stepped(self, progress: Any) -> None:
            steps.append({"at": time.time(), "tokens": tokens, "processor_s": time.process_time()})

    def counted(source: Any) -> Any:
        nonlocal tokens
        step = next_step(source)
        tokens += step.tokens
        return step

    sft.observers_of = lambda *words: [*usual(*words), Clock()]
    sft.data.StepSource.next_step, sft.data.prepare, sft.source_of = counted, prepared, sourced
    sft.check.audit, sft.foresee = timed("audit_s", sft.check.audit), timed("plan_s", sft.foresee)
    recipes.train(run, say=lambda line: None)
    return found


def peer(config: dict[str, Any], steps: list[dict[str, float]]) -> dict[str, float]:
    """The peer's own entry point, with a callback of transformers and its count of tokens without padding."""
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            tokens = int(state.num_input_tokens_seen)
            steps.append({"at": time.time(), "tokens": tokens, "processor_s": time.process_time()})

    run_exp(config, callbacks=[Clock()])
    return {}


if __name__ == "__main__":
    main()
