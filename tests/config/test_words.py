"""The words of a command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from llama_factory.config import Run, load
from llama_factory.errors import LlamaFactoryError, SeveralErrors


def words(line: str) -> Run:
    return load(None, shlex.split(line))


def problems(line: str) -> list[LlamaFactoryError]:
    with pytest.raises(LlamaFactoryError) as caught:
        words(line)
    return list(caught.value.errors) if isinstance(caught.value, SeveralErrors) else [caught.value]


@pytest.mark.parametrize(
    "line",
    [
        "learning_rate=1e-5 do_train=true lora_target=q_proj,v_proj seed=7",
        "--learning_rate 1e-5 --do_train true --lora_target q_proj,v_proj --seed 7",
        "--learning_rate=1e-5 --do_train=True --lora_target=q_proj,v_proj --seed=7",
        "--learning-rate 1e-5 --do_train --lora_target q_proj v_proj --seed 7",
        "--do_train learning_rate=1e-5 --lora_target q_proj v_proj seed=7",
        "--do_train --learning_rate 1e-5 'lora_target=[q_proj, v_proj]' seed=7",
        "training_arguments.learning_rate=1e-5 --method.lora.lora_target q_proj,v_proj --seed 7 --do_train yes",
    ],
)
def test_every_way_to_write_a_word_gives_the_same_run(line):
    assert words(line).resolved() == words("").resolved() | {
        "learning_rate": 1e-5,
        "do_train": True,
        "lora_target": ["q_proj", "v_proj"],
        "seed": 7,
    }


def test_the_tutorials_command_works_with_its_line_ends_as_printed():
    line = (
        r"\ --model_name_or_path llama-7b \ --stage sft \ --do_train \ --finetuning_type lora "
        r"\ --lora_rank 8 \ --output_dir outputs/llama-7b-lora"
    )
    given = shlex.split(line)
    assert " --model_name_or_path" in given
    run = load(None, given)
    assert (run.model.model_name_or_path, run.method.do_train, run.method.lora.lora_rank) == ("llama-7b", True, 8)
    assert run.training.output_dir == "outputs/llama-7b-lora"


def test_words_go_over_the_file_whatever_the_spelling(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("cutoff_length: 1024\nquantization_bit: 4\nuse_lora: true\nstage: dpo\nseed: 1\n")
    run = load(path, ["cutoff_len=512", "quantization_bit=null", "--finetuning_type", "full", "stage=sft"])
    assert (run.data.cutoff_len, run.method.finetuning_type, run.training.seed) == (512, "full", 1)
    assert run.where("cutoff_len") == "cutoff_len=512"
    assert run.where("finetuning_type") == "--finetuning_type full"
    assert not run.notices


def test_a_value_may_look_like_anything():
    assert words("--max_steps -1").training.max_steps == -1
    assert words("--default_system 'You = me'").data.default_system == "You = me"
    assert words("--default_system '[x]'").data.default_system == "[x]"
    assert words("default_system='a=b --seed'").data.default_system == "a=b --seed"
    assert words("default_system=").data.default_system == ""
    assert words("max_samples=").data.max_samples is None
    assert words("--resume_from_checkpoint").training.resume_from_checkpoint is True
    assert words("--resume_from_checkpoint seed=1").training.resume_from_checkpoint is True
    assert words("--resume_from_checkpoint saves/checkpoint-5").training.resume_from_checkpoint == "saves/checkpoint-5"
    assert words("resume_from_checkpoint=false").training.resume_from_checkpoint is False
    assert words("--bf16 --plot_loss no").logging.plot_loss is False
    assert words("--fp16.enabled=false").training.fp16 is False


def test_the_last_word_of_one_spelling_wins_and_two_spellings_conflict():
    assert words("seed=1 seed=2 --seed 3").training.seed == 3
    (problem,) = problems("lr=1e-5 learning_rate=1e-4")
    assert (problem.id, problem.where, problem.values["other"]) == (
        "config.two-spellings",
        "learning_rate=1e-4",
        "lr=1e-5",
    )


def test_every_wrong_word_is_named():
    found = problems("foo --seed --lerning_rate 1 cutoff_len=x --tf32 --max_steps=0 --=3 -x 'a b'")
    assert [(one.id, one.where) for one in found] == [
        ("config.word", ""),
        ("config.word-without-value", "--seed"),
        ("config.word", ""),
        ("config.word", ""),
        ("config.word", ""),
        ("config.unknown-key-near", "--lerning_rate"),
        ("config.planned-loop", "--tf32"),
        ("config.wrong-value", "cutoff_len=x"),
        ("config.wrong-value", "--max_steps=0"),
    ]
    assert found[5].values["nearest"] == "learning_rate"
    assert [one.values["found"] for one in found if one.id == "config.word"] == ["foo", "--=3", "-x", "a b"]


def test_a_secret_is_never_repeated():
    run = words("--hf_hub_token abc123 --seed 1")
    assert run.model.hf_hub_token == "abc123"
    assert "abc123" not in repr(run) + str(run.resolved()) + str(run.notices) + run.where("hf_hub_token")
    assert "hf_hub_token" not in run.resolved()
    assert "abc123" not in str(words("hf_token=abc123").notices)
    wrong = ("hf_hub_token.x=abc123", "hf_token=abc123 hf_hub_token=abc123", "ms_hub_token=abc123", "hf_tokn=abc123")
    for line in wrong:
        for problem in problems(line):
            assert "abc123" not in problem.letter("en") + problem.letter("zh")


def test_terminal_codes_in_a_word_do_not_reach_the_terminal():
    (problem,) = problems("'\x1b[31mred\n=1'")
    assert "\x1b" not in problem.letter()
    (problem,) = load_problem(["seed=\udcff"])
    problem.letter().encode("utf-8")


def load_problem(given: list[str]) -> list[LlamaFactoryError]:
    with pytest.raises(LlamaFactoryError) as caught:
        load(None, given)
    return [caught.value]
