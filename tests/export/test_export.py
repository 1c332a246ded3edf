"""Merged, written, reopened by a stranger, compared; and nothing is left where any of it fails."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_factory import storage
from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError, MachineError, ProofError
from llama_factory.export import ExportReport, export_model, flow, merge, proof, target
from llama_factory.model import adapters, load, save, weights
from llama_factory.model.methods import Start
from llama_factory.render import load_renderer

pytestmark = pytest.mark.usefixtures("a_near_stranger")
IDS = torch.arange(3, 60)[None]


@pytest.fixture
def a_near_stranger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are not about the clean process run its script in this one: starting one takes seconds."""
    if request.node.get_closest_marker("slow") is None:
        script = runpy.run_path(str(proof.SCRIPT))
        monkeypatch.setattr(proof, "ask", lambda *words: script["main"](*map(str, words)))


def adapter(base: Path, folder: Path, *, size: float = 0.05, files: bool = True, **given: Any) -> Path:
    """A LoRA adapter as a finished run leaves it, its B drawn at random."""
    run = from_mapping({"model_name_or_path": str(base), "stage": "sft", "lora_rank": 4, **given}, "a test")
    model = load.load(base, dtype="float32")
    adapters.attach(model, run.method, Start("float32", 1))
    generator = torch.Generator().manual_seed(2)
    masters = {
        name: torch.randn(value.shape, generator=generator) * size if "lora_B" in name else value.detach()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    with torch.no_grad():
        for name, value in masters.items():
            model.get_parameter(name).copy_(value)
    folder.mkdir(parents=True)
    renderer = load_renderer(base)
    save.trained_files(
        model, masters, run, folder, base_folder=base,
        template_text=renderer.template_text, template_fingerprint=renderer.template_fingerprint,
    )  # fmt: skip
    if files:
        for name, content in renderer.files().items():
            (folder / name).write_bytes(content)
    return folder


def export(base: Path, out: Path, *added: Path, **given: Any) -> tuple[ExportReport, list[str]]:
    said: list[str] = []
    names = {"adapter_name_or_path": [str(one) for one in added]} if added else {}
    run = from_mapping({"model_name_or_path": str(base), "export_dir": str(out), **names, **given}, "a test")
    return export_model(run, said.append), said


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def in_bfloat16(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    held = {key: value.to(torch.bfloat16) for key, value in load_file(folder / weights.SINGLE).items()}
    weights.save(held, folder / weights.SINGLE)
    save.set_dtype(folder / "config.json", "bfloat16")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what comes out


@pytest.mark.slow
def test_merged_is_adapter_on_base_for_plain_peft_and_plain_transformers(tiny_model: Path, tmp_path: Path) -> None:
    added = adapter(tiny_model, tmp_path / "adapter")
    before = snapshot(tiny_model), snapshot(added)
    report, said = export(tiny_model, tmp_path / "out", added)
    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    on_base: Any = PeftModel.from_pretrained(plain, str(added)).eval()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert float((logits(again) - logits(on_base)).abs().max()) < 1e-5
    theirs = on_base.merge_and_unload().state_dict()
    ours = load_file(tmp_path / "out" / weights.SINGLE)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert report.changed == 14
    assert report.exported.max_abs <= report.exported_allowed.max_abs < report.effect.max_abs / 100
    assert any("KL" in line for line in said)
    assert (snapshot(tiny_model), snapshot(added)) == before


@pytest.mark.slow
def test_the_sum_is_rounded_once_to_the_dtype_of_the_base(tiny_model: Path, tmp_path: Path) -> None:
    base = in_bfloat16(tiny_model, tmp_path / "base")
    added = adapter(base, tmp_path / "adapter")
    report, _ = export(base, tmp_path / "out", added)
    old, new = load_file(base / weights.SINGLE), load_file(tmp_path / "out" / weights.SINGLE)
    held = load_file(added / adapters.ADAPTER_WEIGHTS)
    scale = 2.0
    checked = 0
    for key, value in new.items():
        name = "base_model.model." + key.removesuffix(".weight")
        change = 0
        if f"{name}.lora_B.weight" in held:
            change = scale * held[f"{name}.lora_B.weight"].double() @ held[f"{name}.lora_A.weight"].double()
            checked += 1
        exact = old[key].double() + change
        # By hand in float64, then one rounding: at most half a unit in the last place, and float32's dust.
        assert bool(((value.double() - exact).abs() <= exact.abs() * 2.0**-8 + 1e-7).all())
        if not isinstance(change, torch.Tensor):
            assert torch.equal(value, old[key])
    assert checked == report.changed == 14
    assert {entry.dtype for entry in weights.entries(tmp_path / "out").values()} == {"BF16"}
    assert report.reopened.max_abs <= report.float32_allowed.max_abs
    assert 0 < report.exported.kl <= report.exported_allowed.kl


def test_an_infer_dtype_is_obeyed_and_written_down(tiny_model: Path, tmp_path: Path) -> None:
    report, _ = export(tiny_model, tmp_path / "out", adapter(tiny_model, tmp_path / "a"), infer_dtype="bfloat16")
    assert report.dtype == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_two_adapters_are_merged_one_onto_the_other(tiny_model: Path, tmp_path: Path) -> None:
    one = adapter(tiny_model, tmp_path / "one")
    two = adapter(tiny_model, tmp_path / "two", size=0.1, lora_target="q_proj,down_proj")
    export(tiny_model, tmp_path / "out", one, two)
    theirs: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for folder in (one, two):
        theirs = PeftModel.from_pretrained(theirs, str(folder)).merge_and_unload()
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(theirs), atol=1e-5)


def test_a_model_without_adapter_is_cut_anew_with_the_same_bits(tiny_model: Path, tmp_path: Path) -> None:
    report, said = export(tiny_model, tmp_path / "out", export_size=0.00006)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2
    largest = max(value.numel() * 4 for value in load_file(tiny_model / weights.SINGLE).values())
    assert all(file.stat().st_size < max(60_000, largest) + 4_000 for file in files)
    index = json.loads((tmp_path / "out" / weights.INDEX).read_text())
    old = load_file(tiny_model / weights.SINGLE)
    assert set(index["weight_map"]) == set(old)
    assert index["metadata"]["total_size"] == sum(value.numel() * 4 for value in old.values())
    assert all(torch.equal(value, old[key]) for key, value in weights.read(tmp_path / "out"))
    assert (report.changed, report.exported.max_abs) == (0, 0.0)
    assert not any("adapter-on-base" in line for line in said)


def test_tied_weights_stay_tied(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    said = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": True}
    (base / "config.json").write_text(json.dumps(said))
    held = load_file(base / weights.SINGLE)
    held.pop("lm_head.weight")
    weights.save(held, base / weights.SINGLE)
    export(base, tmp_path / "out", adapter(base, tmp_path / "adapter"))
    assert set(weights.entries(tmp_path / "out")) == set(held)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_every_file_of_the_base_is_there_and_the_adapters_tokenizer_wins(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    (base / "LICENSE").write_text("be good")
    (base / "assets").mkdir()
    (base / "assets" / "card.md").write_text("# card")
    added = adapter(base, tmp_path / "adapter")
    text = (added / "chat_template.jinja").read_text() + "{# as trained #}"
    (added / "chat_template.jinja").write_text(text)
    _, said = export(base, tmp_path / "out", added, allow_template_mismatch=True)
    out = tmp_path / "out"
    listed = {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert listed <= there
    assert there - listed == {"MANIFEST.json", target.REPORT}
    new, own = (json.loads((folder / "config.json").read_text()) for folder in (out, base))
    assert new == own | {"rope_theta": own["rope_parameters"]["rope_theta"]}  # as other readers spell it
    assert (out / "chat_template.jinja").read_text() == text
    assert any("another template" in line for line in said)
    assert storage.verify(out).size > 0


def test_prompts_of_the_exported_tokenizer_are_those_that_were_trained(tiny_model: Path, tmp_path: Path) -> None:
    _, said = export(tiny_model, tmp_path / "out", adapter(tiny_model, tmp_path / "adapter"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    from llama_factory.records import Message

    ours = load_renderer(tmp_path / "out").prompt([Message("user", "Who? 12")])
    theirs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who? 12"}], add_generation_prompt=True, return_dict=False
    )
    assert ours == theirs
    assert not any("other tokens" in line for line in said)


def test_answers_end_where_the_template_ends_them(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    stop = load_renderer(base).stop_ids[0]
    other = 7
    for name in ("config.json", "generation_config.json"):
        said = json.loads((base / name).read_text()) | {"eos_token_id": other}
        (base / name).write_text(json.dumps(said))
    export(base, tmp_path / "out", adapter(base, tmp_path / "adapter"))
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [other, stop]
    export(tiny_model, tmp_path / "second")
    same = (tmp_path / "second" / "generation_config.json").read_bytes()
    assert same == (tiny_model / "generation_config.json").read_bytes()


def test_the_report_in_the_folder_says_what_was_measured(tiny_model: Path, tmp_path: Path) -> None:
    report, _ = export(tiny_model, tmp_path / "out", adapter(tiny_model, tmp_path / "adapter"))
    written = json.loads((tmp_path / "out" / target.REPORT).read_text())
    assert written["exported"]["kl"] == report.exported.kl
    assert written["effect"]["kl"] > 1e-4
    assert list(written["adapters"]) == [str(tmp_path / "adapter")]
    assert str(tmp_path) not in json.dumps({key: written[key] for key in ("folder", "versions", "exported")})


def test_an_adapter_from_elsewhere_is_merged_with_a_notice(tiny_model: Path, tmp_path: Path) -> None:
    theirs: Any = get_peft_model(
        load.load(tiny_model, dtype="float32"),
        LoraConfig(r=2, target_modules=["q_proj"], use_rslora=True, use_dora=True, task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.2)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    report, said = export(tiny_model, tmp_path / "out", tmp_path / "theirs")
    assert report.changed == 2
    assert "not made here" in said[0]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), logits(theirs.eval()), atol=1e-4)


VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "dropout": {"lora_dropout": 0.5},
    "embedding": {"lora_target": "embed_tokens,q_proj"},
    "pissa": {"pissa_init": True},
    "whole modules": {"additional_target": "embed_tokens,lm_head,norm"},
}


@pytest.mark.parametrize("given", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("tied", [False, True])
def test_every_variant_of_lora_merges_into_what_it_was_on_its_base(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any], tied: bool
) -> None:
    base = with_one_embedding(tiny_model, tmp_path / "base") if tied else tiny_model
    if tied and "embed_tokens" in given.get("lora_target", ""):
        pytest.skip("refused: an embedding that is the head too takes no LoRA matrices")
    added = adapter(base, tmp_path / "adapter", **given)
    moved = load_file(added / adapters.ADAPTER_WEIGHTS)
    for number, (key, value) in enumerate(sorted(moved.items())):
        if "lora" not in key or "magnitude" in key or "lora_embedding_A" in key:
            seed = 7 if key.endswith(("lm_head.weight", "embed_tokens.weight")) and tied else number
            value += 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
    weights.save(moved, added / adapters.ADAPTER_WEIGHTS)
    report, _ = export(base, tmp_path / "out", added)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        theirs: Any = PeftModel.from_pretrained(load.load(base, dtype="float32"), str(added)).eval()
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), logits(theirs), atol=1e-4)
    assert (again.get_input_embeddings().weight is again.get_output_embeddings().weight) is tied
    assert set(weights.entries(tmp_path / "out")) == set(weights.entries(base))
    assert report.changed >= 2


def test_a_chain_is_merged_whole_and_refused_in_part(tiny_model: Path, tmp_path: Path) -> None:
    one = adapter(tiny_model, tmp_path / "one")
    run = from_mapping({"model_name_or_path": str(tiny_model), "stage": "sft", "lora_rank": 3}, "a test")
    model = load.load(tiny_model, dtype="float32")
    attached = adapters.attach(model, run.method, Start("float32", 5))
    adapters.open_beneath(attached, [one], tiny_model, method="lora")
    with torch.no_grad():
        for name in attached.trainable:
            value = model.get_parameter(name)
            value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))))
    (tmp_path / "top").mkdir()
    renderer = load_renderer(tiny_model)
    save.trained_files(
        model, {}, run, tmp_path / "top", base_folder=tiny_model, template_text=renderer.template_text,
        template_fingerprint=renderer.template_fingerprint, beneath={"one": one},
    )  # fmt: skip
    for name, content in renderer.files().items():
        (tmp_path / "top" / name).write_bytes(content)
    assert refused(tiny_model, tmp_path / "out", tmp_path / "top").id == "model.adapter-needs-others"
    export(tiny_model, tmp_path / "out", one, tmp_path / "top")
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), logits(model.eval()), atol=1e-4)


def with_one_embedding(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    held = load_file(folder / weights.SINGLE)
    del held["lm_head.weight"]
    weights.save(held, folder / weights.SINGLE)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"tie_word_embeddings": True}))
    return folder


# ---- what is refused, and what is left then


def refused(base: Path, out: Path, *added: Path, **given: Any) -> LlamaFactoryError:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(LlamaFactoryError) as caught:
        export(base, out, *added, **given)
    assert sorted(out.parent.rglob("*")) == before
    return caught.value


def test_another_base_than_the_one_trained_on_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    added = adapter(tiny_model, tmp_path / "adapter")
    other = in_bfloat16(tiny_model, tmp_path / "other")
    error = refused(other, tmp_path / "out", added)
    assert (error.id, error.exit_code) == ("model.other-base", 2)


def test_adapters_that_do_not_add_up_are_refused_before_a_weight_is_read(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, odd = adapter(tiny_model, tmp_path / "one"), adapter(tiny_model, tmp_path / "odd", use_dora=True)
    monkeypatch.setattr(load, "load_for", lambda *given, **named: pytest.fail("a model was loaded"))
    assert refused(tiny_model, tmp_path / "out", one, odd).id == "model.adapter-does-not-add"


def test_a_merge_that_changed_nothing_fails_with_exit_6(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = in_bfloat16(tiny_model, tmp_path / "base")
    faint = adapter(base, tmp_path / "faint", size=1e-9)
    error = refused(base, tmp_path / "out", faint)
    assert (type(error), error.id, error.exit_code) == (ProofError, "export.nothing-changed", 6)
    report, _ = export(base, tmp_path / "kept", faint, infer_dtype="float32")
    assert report.changed == 14


def test_an_adapter_that_rounding_eats_in_part_is_said(tiny_model: Path, tmp_path: Path) -> None:
    base = in_bfloat16(tiny_model, tmp_path / "base")
    _, said = export(base, tmp_path / "out", adapter(base, tmp_path / "faint", size=1e-4))
    assert any("infer_dtype: float32" in line for line in said)


def test_an_adapter_that_was_never_trained_is_exported_and_said(tiny_model: Path, tmp_path: Path) -> None:
    report, said = export(tiny_model, tmp_path / "out", adapter(tiny_model, tmp_path / "zero", size=0.0))
    assert report.changed == 0
    assert any("never trained" in line for line in said)


def half_merged(model: Any, layers: Any) -> tuple[str, ...]:
    """A fault: one layer keeps its base weights."""
    broken = next(iter(layers.values()))
    broken.lora_B["default"].weight.data.zero_()
    return merge_rightly(model, layers)


def scaled(model: Any, layers: Any) -> tuple[str, ...]:
    """A fault: a scale that is off by one in a thousand."""
    for layer in layers.values():
        layer.scaling["default"] *= 1.001
    return merge_rightly(model, layers)


merge_rightly = merge.merge


@pytest.mark.parametrize("fault", [half_merged, scaled])
def test_a_faulty_merge_is_found(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Any]
) -> None:
    base = in_bfloat16(tiny_model, tmp_path / "base")
    added = adapter(base, tmp_path / "adapter")
    monkeypatch.setattr(merge, "merge", fault)
    error = refused(base, tmp_path / "out", added)
    assert (error.id, error.exit_code) == ("export.merge-differs", 6)


def spoiled(aside: Path, name: str) -> None:
    file = aside / name
    if name == weights.SINGLE:
        held = load_file(file)
        held["model.norm.weight"] = held["model.norm.weight"] * 1.01
        weights.save(held, file)
    else:
        said = json.loads(file.read_text())
        file.write_text(json.dumps(said | {"rms_norm_eps": 0.5}))


@pytest.mark.parametrize("name", [weights.SINGLE, "config.json"])
def test_files_that_say_something_else_are_found(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Spoiled after they were written, before anybody opened them: both openings agree, and both are wrong."""
    added = adapter(tiny_model, tmp_path / "adapter")
    rightly = flow._other_files

    def wrongly(job: Any, aside: Path) -> None:
        rightly(job, aside)
        spoiled(aside, name)

    monkeypatch.setattr(flow, "_other_files", wrongly)
    error = refused(tiny_model, tmp_path / "out", added)
    assert (error.id, error.exit_code) == ("export.files-differ", 6)


def test_a_stranger_who_computes_otherwise_is_found(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = proof.reopen

    def wrongly(folder: Path, *given: Any, **more: Any) -> Any:
        spoiled(folder, "config.json")
        return rightly(folder, *given, **more)

    monkeypatch.setattr(proof, "reopen", wrongly)
    assert refused(tiny_model, tmp_path / "out").id == "export.reopened-differs"


@pytest.mark.slow
def test_what_a_stranger_cannot_open_is_not_exported(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = proof.reopen

    def wrongly(folder: Path, *given: Any, **more: Any) -> Any:
        (folder / "config.json").unlink()
        return rightly(folder, *given, **more)

    monkeypatch.setattr(proof, "reopen", wrongly)
    error = refused(tiny_model, tmp_path / "out")
    assert error.id == "export.will-not-reopen"
    assert "Traceback" not in error.letter()


def test_a_folder_with_anything_else_in_it_is_not_touched(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("three years")
    assert refused(tiny_model, out).id == "export.folder-in-use"
    assert (out / "thesis.txt").read_text() == "three years"
    assert refused(tiny_model, out / "thesis.txt").id == "export.not-a-folder"


def test_an_earlier_export_is_replaced_whole_unless_something_was_added(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(tiny_model, out, export_size=0.00006)
    assert (out / weights.INDEX).exists()
    export(tiny_model, out)
    assert not (out / weights.INDEX).exists()
    assert len(list(out.glob("*.safetensors"))) == 1
    (out / "notes.md").write_text("mine")
    assert refused(tiny_model, out).id == "export.folder-in-use"


def test_an_export_never_writes_over_what_it_reads(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "deep" / "base")
    (tmp_path / "link").symlink_to(base)
    for out in (tmp_path / "link", tmp_path / "deep"):
        assert refused(base, out).id == "export.onto-its-source"


def test_a_run_without_model_or_folder_is_a_letter(tiny_model: Path, tmp_path: Path) -> None:
    for given, id in (({"model_name_or_path": "m"}, "export.no-folder"), ({"export_dir": "o"}, "export.no-model")):
        with pytest.raises(InputError) as caught:
            export_model(from_mapping(given, "a test"), print)
        assert caught.value.id == id


def test_too_little_disk_or_memory_is_said_before_the_work(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    with monkeypatch.context() as small:
        small.setattr(storage, "free_bytes", lambda path: 1000)
        error = refused(tiny_model, tmp_path / "out")
        assert (type(error), error.id) == (MachineError, "export.no-room")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    assert refused(tiny_model, tmp_path / "out").id == "export.no-memory"


@pytest.mark.slow
def test_the_stranger_knows_nothing_of_this_project() -> None:
    source = proof.SCRIPT.read_text(encoding="utf-8")
    assert "llama_factory" not in source
    code = "import sys; sys.path = [p for p in sys.path if 'src' not in p]; import runpy; runpy.run_path(sys.argv[1])"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(proof.SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
