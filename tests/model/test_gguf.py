"""A GGUF file made on the spot, with a model whose answers are known, becomes a folder with the same answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from llama_factory.errors import InputError, MachineError
from llama_factory.model import gguf as ours
from llama_factory.model import load, weights

pytest.importorskip("gguf")

HEADS, KV_HEADS = 4, 2


def small_llama() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS, max_position_embeddings=128, rms_norm_eps=1e-5, rope_theta=5e5,
            tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows that llama.cpp keeps for its rotary embedding."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(file: Path, model: LlamaForCausalLM, kind: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(file, "llama")
    config = model.config
    writer.add_name("A small llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(5e5)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config.vocab_size)
    letters = sorted(bytes_to_unicode().values())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "12", "Ġ1"]
    tokens += [f"<unused{number}>" for number in range(config.vocab_size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["1 2", "Ġ 1"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    for name, tensor in named_for_llama_cpp(model).items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor)
        elif kind == "F16":
            writer.add_tensor(name, tensor.astype(np.float16))
        elif kind == "Q8_0":
            packed = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def named_for_llama_cpp(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    parts = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for layer in range(model.config.num_hidden_layers):
        names |= {f"model.layers.{layer}.{mine}": f"blk.{layer}.{theirs}" for mine, theirs in parts.items()}
    found = {}
    for name, value in model.state_dict().items():
        array = value.float().numpy()
        if "q_proj" in name:
            array = interleaved(array, HEADS)
        if "k_proj" in name:
            array = interleaved(array, KV_HEADS)
        found[names[name.removesuffix(".weight")] + ".weight"] = np.ascontiguousarray(array)
    return found


def bytes_to_unicode() -> dict[int, str]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + number) for number, byte in enumerate(others)}


@pytest.mark.parametrize(("kind", "dtype", "allowed"), [("F32", "float32", 1e-5), ("F16", "float16", 2e-3)])
def test_unquantised_weights_keep_their_dtype_and_their_answers(
    tmp_path: Path, kind: str, dtype: str, allowed: float
) -> None:
    model = small_llama()
    write_gguf(tmp_path / "small.gguf", model, kind)
    ours.convert(tmp_path / "small.gguf", tmp_path / "out")
    again = load.load(tmp_path / "out", dtype="float32")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert float((again(ids).logits - model(ids).logits).abs().max()) < allowed
    assert {entry.dtype for entry in weights.entries(tmp_path / "out").values()} == {weights.HEADER_NAMES[dtype]}


def test_quantised_weights_become_bfloat16_and_a_model_that_saves_and_trains(tmp_path: Path) -> None:
    model = small_llama()
    write_gguf(tmp_path / "small.gguf", model, "Q8_0")
    ours.convert(tmp_path / "small.gguf", tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.dtype == torch.bfloat16
    assert getattr(again, "hf_quantizer", None) is None
    again.save_pretrained(tmp_path / "saved")
    again(input_ids=torch.arange(9)[None], labels=torch.arange(9)[None]).loss.backward()
    assert again.lm_head.weight.grad is not None


def test_the_configuration_is_free_of_dust(tmp_path: Path) -> None:
    write_gguf(tmp_path / "small.gguf", small_llama(), "F32")
    ours.convert(tmp_path / "small.gguf", tmp_path / "out")
    said: dict[str, Any] = json.loads((tmp_path / "out" / "config.json").read_text())
    assert said["rms_norm_eps"] == 1e-5
    assert said["rope_parameters"]["rope_theta"] == said["rope_theta"] == 5e5
    assert "_model_name_or_path" not in said
    tokenizer = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert tokenizer["model_max_length"] == 128
    assert not {"is_local", "local_files_only"} & set(tokenizer)
    assert (tmp_path / "out" / "chat_template.jinja").is_file()
    private = [path.name for path in (tmp_path / "out").iterdir() if not path.stat().st_mode & 0o044]
    assert not private


def test_digits_stand_alone_in_the_tokenizer(tmp_path: Path) -> None:
    write_gguf(tmp_path / "small.gguf", small_llama(), "F32")
    ours.convert(tmp_path / "small.gguf", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("a12 1") == ["a", "1", "2", "Ġ", "1"]
    with_the_trap = AutoTokenizer.from_pretrained(tmp_path, gguf_file="small.gguf")
    assert with_the_trap.tokenize("a12 1") == ["a", "12", "Ġ1"], "transformers does it right now: drop our repair"


def test_without_the_library_the_letter_names_the_line_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    find = importlib.util.find_spec
    monkeypatch.setattr(ours, "find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(MachineError) as caught:
        ours.convert(tmp_path / "m.gguf", tmp_path / "out")
    assert 'pip install "llama-factory[gguf]"' in caught.value.letter()


def test_what_is_no_gguf_file_is_a_letter_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, id in ((b"PK\x03\x04rest", "model.not-gguf"), (b"GGUF" + b"\0" * 40, "model.gguf-unknown")):
        (tmp_path / "m.gguf").write_bytes(content)
        with pytest.raises(InputError) as caught:
            ours.convert(tmp_path / "m.gguf", tmp_path / f"out-{id}")
        assert caught.value.id == id
    assert ours.main([str(tmp_path / "m.gguf"), str(tmp_path / "made")]) == 2
    assert "m.gguf" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    assert ours.main([]) == 2


def test_the_command_converts_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(tmp_path / "small.gguf", small_llama(), "F32")
    assert ours.main([str(tmp_path / "small.gguf"), str(tmp_path / "made")]) == 0
    assert "made" in capsys.readouterr().out
    load.load(tmp_path / "made", dtype="float32")
    assert ours.main([str(tmp_path / "small.gguf"), str(tmp_path / "made")]) == 2  # never over something


@pytest.mark.real
def test_the_real_conversion_knows_its_digits_and_its_stop(real_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real_model)
    for text in ("  12", "\n\n56", "\t\t3", "in 2024, 3.14", "１２"):
        digits = [piece for piece in tokenizer.tokenize(text) if any(letter.isdigit() for letter in piece)]
        assert all(piece in "0123456789" for piece in digits)
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    said = json.loads((real_model / "config.json").read_text())
    assert (said["rms_norm_eps"], said["eos_token_id"], said["tie_word_embeddings"]) == (1e-5, 2, True)
    assert tokenizer.model_max_length == 8192
