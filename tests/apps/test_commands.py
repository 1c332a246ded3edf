"""The commands that look something up: their lines, their exit codes, and the errors a first word can be."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from llama_factory import __version__
from llama_factory.apps.cli import COMMANDS, main
from llama_factory.apps.words import COMMANDS as SUMMARIES
from llama_factory.apps.words import EXAMPLES, USAGE, WORDS
from llama_factory.errors import EXIT_CODES


def test_version_is_one_line_with_name_and_number(lmf) -> None:
    for words in (["version"], ["--version"]):
        done = lmf(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"LLaMA Factory {__version__}\n", "")


def test_version_takes_no_longer_than_a_blink(lmf) -> None:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        lmf("version")
        took.append(time.perf_counter() - start)
    assert min(took) < 0.5


def test_every_command_has_a_line_a_page_a_usage_and_examples_in_both_languages() -> None:
    assert len(COMMANDS) == 14
    assert set(COMMANDS) == set(SUMMARIES) == set(USAGE) == set(EXAMPLES) - {""}
    assert all(f"about.{name}" in WORDS for name in COMMANDS)
    assert all(f"exit.{code}" in WORDS for code in EXIT_CODES)


def test_both_languages_say_the_same_values() -> None:
    from string import Formatter

    checked = 0
    for id, text in {**WORDS, **SUMMARIES}.items():
        named = [{name for _, name, _, _ in Formatter().parse(one) if name} for one in text]
        assert named[0] == named[1], id
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_names_every_command_and_every_exit_code(lmf, words: list[str]) -> None:
    done = lmf(*words)
    assert done.returncode == 0
    assert done.stderr == ""
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    for code in EXIT_CODES:
        assert f"\n  {code} " in done.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_on_a_command_shows_how_it_is_called(lmf, name: str) -> None:
    by_help = lmf("help", name)
    by_flag = lmf(name, "--help")
    assert by_help.returncode == by_flag.returncode == 0
    assert f"llamafactory-cli {name}" in by_help.stdout
    assert by_flag.stdout == (lmf("help").stdout if name == "help" else by_help.stdout)


def test_no_word_at_all_shows_the_help_and_is_no_success(lmf) -> None:
    done = lmf()
    assert done.returncode == 2
    assert done.stdout == lmf("help").stdout


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "Did you mean `llamafactory-cli train`?"),
        ("Train", "Did you mean `llamafactory-cli train`?"),
        ("qqqqqq", "`llamafactory-cli help` lists them."),
        ("webui", "planned and not built yet"),
        ("my.yaml", "`llamafactory-cli train my.yaml`"),
        ("--stage", "`llamafactory-cli train --stage ...`"),
        ("learning_rate=1", "`llamafactory-cli train learning_rate=1 ...`"),
    ],
)
def test_a_first_word_that_is_no_command_is_answered_with_what_was_meant(lmf, word: str, hint: str) -> None:
    done = lmf(word)
    assert done.returncode == 2
    assert done.stdout == ""
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_help_on_an_unknown_command_is_refused(lmf) -> None:
    done = lmf("help", "trian")
    assert done.returncode == 2
    assert "`llamafactory-cli train`" in done.stderr


def test_a_word_too_many_is_refused_and_not_ignored(lmf) -> None:
    for words in (["version", "x"], ["env", "x"], ["list", "models", "x"], ["init", "a.yaml", "x"]):
        done = lmf(*words)
        assert done.returncode == 2
        assert "`x`" in done.stderr


def test_env_shows_the_machine_and_silences_the_pins_on_demand(lmf) -> None:
    done = lmf("env")
    assert done.returncode == 0
    assert f"llamafactory     {__version__}" in done.stdout
    assert "the tutorials name" in done.stdout
    assert "tutorials" not in lmf("env", DISABLE_VERSION_CHECK="1").stdout


def test_the_columns_of_a_table_stand_under_each_other(lmf) -> None:
    rows = [line for line in lmf("env", DISABLE_VERSION_CHECK="1").stdout.splitlines() if line]
    starts = {len(row) - len(row[17:].lstrip()) for row in rows}
    assert len(rows) > 8
    assert starts == {17}


def test_init_writes_a_file_once_and_never_over_another(lmf, tmp_path: Path) -> None:
    first = lmf("init")
    assert first.returncode == 0
    assert "train.yaml" in first.stdout
    written = (tmp_path / "train.yaml").read_bytes()
    assert b"model_name_or_path:" in written
    again = lmf("init")
    assert again.returncode == 2
    assert "train.yaml" in again.stderr
    assert (tmp_path / "train.yaml").read_bytes() == written
    assert lmf("init", "configs/mine.yaml").returncode == 0
    assert (tmp_path / "configs" / "mine.yaml").read_bytes() == written


def test_init_in_a_place_that_is_a_file_says_so(lmf, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = lmf("init", "taken/train.yaml")
    assert done.returncode == 4
    assert "taken/train.yaml" in done.stderr


def test_a_file_that_init_wrote_is_a_configuration(lmf, tmp_path: Path) -> None:
    from llama_factory import config

    lmf("init")
    run = config.load(tmp_path / "train.yaml")
    assert run.stage == "sft"
    assert run.method.do_train


def test_list_has_four_parts_and_each_stands_alone(lmf) -> None:
    whole = lmf("list")
    assert whole.returncode == 0
    for name, entry in [("templates", "qwen"), ("datasets", "identity"), ("methods", "freeze")]:
        part = lmf("list", name)
        assert part.returncode == 0
        assert entry in {line.split()[0] for line in part.stdout.splitlines()}
        assert all(f"  {line}" in whole.stdout.splitlines() for line in part.stdout.splitlines())


def test_list_names_the_reader_s_own_data_sets_beside_the_shipped_ones(lmf, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.json").write_text("[]")
    (tmp_path / "data" / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}, "bad": {"file": 1}}')
    done = lmf("list", "datasets")
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "data/mine.json" in rows["mine"]
    assert "file_name" in rows["bad"]
    assert "identity" in rows


def test_list_shows_the_models_here_by_their_path(lmf, tmp_path: Path) -> None:
    assert lmf("list", "models").stdout == ""
    folder = tmp_path / "models" / "Owner" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"0" * 20_000_000)
    done = lmf("list", "models")
    assert done.stdout.split() == ["models/Owner/small", "llama", "0.02", "GB"]


def test_an_unknown_list_names_the_known_ones(lmf) -> None:
    done = lmf("list", "stuff")
    assert done.returncode == 2
    assert "templates, datasets, methods, models" in done.stderr


def test_explain_says_meaning_type_and_default_in_both_languages(lmf) -> None:
    done = lmf("explain", "lora_rank")
    assert done.returncode == 0
    assert "lora_rank" in done.stdout
    assert "Rank of the LoRA matrices." in done.stdout
    assert "8" in done.stdout
    chinese = lmf("explain", "lora_rank", LLAMA_FACTORY_LANG="zh")
    assert "LoRA 矩阵的秩" in chinese.stdout


def test_explain_of_an_unknown_key_names_the_nearest(lmf) -> None:
    done = lmf("explain", "lora_rnk")
    assert done.returncode == 2
    assert "lora_rank" in done.stderr


def test_explain_without_a_key_lists_every_built_key_with_its_line(lmf) -> None:
    from llama_factory import config

    done = lmf("explain")
    assert done.returncode == 0
    shown = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    built = {key: about for key, about in config.fields().items() if about.status == "built"}
    assert len(built) > 60
    assert set(shown) == set(built)
    assert all(about.en in shown[key] for key, about in built.items())


@pytest.mark.parametrize("method", ["lora", "freeze", "full"])
def test_init_writes_the_method_that_is_asked_for(lmf, tmp_path: Path, method: str) -> None:
    assert lmf("init", "mine.yaml", method).returncode == 0
    assert f"\nfinetuning_type: {method}\n" in (tmp_path / "mine.yaml").read_text()


def test_init_takes_no_word_for_a_file_that_is_none(lmf, tmp_path: Path) -> None:
    done = lmf("init", "lorra")
    assert done.returncode == 2
    assert "lorra" in done.stderr
    assert not list(tmp_path.iterdir())


def test_init_writes_in_the_language_of_the_reader(lmf, tmp_path: Path) -> None:
    assert lmf("init", LLAMA_FACTORY_LANG="zh").returncode == 0
    assert "基座模型" in (tmp_path / "train.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["train", "chat", "export"])
def test_a_command_without_file_or_key_says_how_to_begin(lmf, command: str) -> None:
    done = lmf(command)
    assert done.returncode == 2
    assert "llamafactory-cli init" in done.stderr


def test_help_on_train_lists_the_keys(lmf) -> None:
    done = lmf("help", "train")
    for key in ("model_name_or_path", "learning_rate", "lora_rank", "val_size", "save_steps"):
        assert key in done.stdout
    assert "export_dir" not in done.stdout
    assert "export_dir" in lmf("help", "export").stdout


@pytest.mark.parametrize("variable", ["NNODES", "WORLD_SIZE"])
def test_a_launcher_s_variables_are_refused_instead_of_training_alone(lmf, variable: str) -> None:
    done = lmf("train", "x.yaml", **{variable: "2"})
    assert done.returncode == 2
    assert f"{variable}=2" in done.stderr
    alone = lmf("train", "x.yaml", **{variable: "1"})
    assert variable not in alone.stderr


def test_forced_torchrun_is_refused_by_name(lmf) -> None:
    done = lmf("train", "x.yaml", FORCE_TORCHRUN="1", NNODES="")
    assert done.returncode == 2
    assert "FORCE_TORCHRUN=1" in done.stderr
    assert "FORCE_TORCHRUN" not in lmf("train", "x.yaml", FORCE_TORCHRUN="0").stderr


def test_a_variable_that_asks_for_another_engine_gets_one_calm_line(lmf, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("chat", "model_name_or_path=empty")
    done = lmf(*words, USE_RAY="1", USE_MODELSCOPE_HUB="true", USE_KT="0")
    assert done.stderr.count("has no effect here") == 2
    assert "USE_RAY=1" in done.stderr
    assert "USE_KT" not in done.stderr
    assert "no effect" not in lmf(*words).stderr


def test_a_missing_file_is_named_with_exit_code_two(lmf) -> None:
    for command in ("train", "chat", "export"):
        done = lmf(command, "nowhere.yaml")
        assert done.returncode == 2
        assert "nowhere.yaml" in done.stderr


def test_several_problems_of_one_file_come_at_once(lmf, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("model_name_or_path: x\nlearnin_rate: 1e-4\nlora_rank: many\n")
    done = lmf("train", "bad.yaml")
    assert done.returncode == 2
    assert "learning_rate" in done.stderr
    assert "many" in done.stderr


def test_the_old_script_goes_the_same_way() -> None:
    script = Path(__file__).parents[2] / "src" / "train_bash.py"
    done = subprocess.run(
        [sys.executable, str(script), "--stage", "nonsense", "--do_train"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_main_returns_its_code_to_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"LLaMA Factory {__version__}\n"
    assert main(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
