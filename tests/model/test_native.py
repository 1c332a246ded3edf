"""The compiled kernels beside the formulas that they stand for, on many shapes, and what happens without them."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import nn

from llama_factory.machine.compiler import CannotCompile
from llama_factory.model import gated, head, norm, rotary, upstream
from llama_factory.model.attention import attend
from llama_factory.model.frozen import Frozen
from llama_factory.model.native import calls, library, proof
from llama_factory.model.native.attention import native_attention
from llama_factory.model.native.calls import Rows
from llama_factory.model.policy import Policy
from llama_factory.testing.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("kernels", "in_float32_too")

FORMATS = [torch.float32, torch.bfloat16]

ROWS = {
    "one token": ((1,), 0, None, (2, 1, 16)),
    "a whole block": ((64,), 0, None, (4, 4, 64)),
    "blocks, rests and single tokens": ((200, 77, 1, 300, 64, 65, 128), 0, None, (9, 3, 64)),
    "heads that share keys, worked on apart": ((130, 40), 0, None, (6, 2, 32)),
    "a common beginning": ((37, 100, 5, 222), 37, None, (9, 3, 64)),
    "a common beginning of more than a block": ((130, 3, 64, 70, 1, 2), 130, None, (4, 4, 16)),
    "a window": ((130, 10, 9), 0, 50, (6, 3, 80)),
    "a window of one": ((70,), 0, 1, (2, 2, 16)),
    "a window over a common beginning": ((70, 100, 300), 70, 90, (6, 2, 32)),
}


@pytest.fixture(scope="module", name="kernels")
def _kernels():
    found = library.NATIVE.library()
    if found is None:
        pytest.skip(f"no kernels here: {library.NATIVE.why}")
    return found


@pytest.fixture(name="in_float32_too")
def _in_float32_too(monkeypatch):
    monkeypatch.setattr(library, "TAKEN", frozenset(FORMATS))


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def heads(case: str, dtype: torch.dtype) -> tuple[list[torch.Tensor], Rows]:
    """Queries, keys, values and what comes back, as layers give them: (H, T, D) that lies (T, H, D)."""
    lengths, common, window, (queries, keys, width) = ROWS[case]
    counts = enumerate((queries, keys, keys, queries))
    drawn_ = [drawn(sum(lengths), count, width, seed=n, dtype=dtype).transpose(0, 1) for n, count in counts]
    return drawn_, Rows(lengths, width**-0.5, window, common)


def plainly(query, key, value, dout, rows, dtype=None):
    """Output and gradients by the definition, in this format."""
    leaves = [it.detach().to(dtype or it.dtype).requires_grad_(True) for it in (query, key, value)]
    out = proof.attention_by_definition(leaves, rows)
    return out.detach(), *torch.autograd.grad(out, leaves, dout.to(out.dtype))


def ours(query, key, value, dout, rows):
    leaves = [it[None].detach().requires_grad_(True) for it in (query, key, value)]
    out = native_attention(*leaves, rows)
    grads = torch.autograd.grad(out, leaves, dout.transpose(0, 1)[None])
    return out.detach()[0].transpose(0, 1), *(it[0] for it in grads)


def distance(found: torch.Tensor, right: torch.Tensor) -> float:
    return float((found.double() - right).norm() / right.norm())


@pytest.mark.parametrize("case", ROWS)
def test_attention_in_float32_is_the_definition(case):
    tensors, rows = heads(case, torch.float32)
    for found, right in zip(ours(*tensors, rows), plainly(*tensors, rows, torch.float64), strict=True):
        assert found.shape == right.shape
        assert distance(found, right) < 1e-6 or float(right.norm()) < 1e-6


@pytest.mark.parametrize("case", ROWS)
def test_attention_in_bf16_is_no_further_from_the_definition_than_torch_in_bf16(case):
    tensors, rows = heads(case, torch.bfloat16)
    exact = plainly(*tensors, rows, torch.float64)
    for found, theirs, right in zip(ours(*tensors, rows), plainly(*tensors, rows), exact, strict=True):
        assert distance(found, right) <= 1.1 * distance(theirs, right) + 1e-3 or float(right.norm()) < 1e-6


def test_the_number_of_threads_changes_no_bit():
    tensors, rows = heads("a common beginning", torch.bfloat16)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(ours(*tensors, rows))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@pytest.mark.parametrize("place", [0, 2])
def test_a_number_that_is_none_is_not_lost(place):
    tensors, rows = heads("a whole block", torch.float32)
    tensors[place] = tensors[place].clone()
    tensors[place][0, 40, 3] = float("nan")
    out, *grads = ours(*tensors, rows)
    met = out[0].isnan().any(-1)
    assert met[40] if place == 0 else met[40:].all()
    assert place == 2 or not met[:40].any()
    assert any(it.isnan().any() for it in grads)


def test_what_the_kernel_does_not_know_goes_torchs_way(kernels):
    tensors, rows = heads("a window", torch.float32)
    q, k, v = (it[None] for it in tensors[:3])
    assert native_attention(q, k, v, rows) is not None
    assert native_attention(q[..., :40], k[..., :40], v[..., :40], rows) is None  # no multiple of 16
    assert native_attention(q, k, v[..., :16], rows) is None
    assert native_attention(q.double(), k.double(), v.double(), rows) is None
    assert native_attention(q.half(), k.half(), v.half(), rows) is None


def test_they_are_taken_in_bf16_alone(monkeypatch, kernels):
    monkeypatch.undo()
    assert library.library_for(torch.zeros(1, dtype=torch.bfloat16)) is kernels
    assert all(library.library_for(torch.zeros(1, dtype=it)) is None for it in (torch.float32, torch.float16))


def test_attention_takes_the_kernel_in_bf16_and_leaves_float32_to_torch(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "llama_factory.model.attention.native_attention", lambda *given: seen.append(1) or native_attention(*given)
    )
    for dtype in FORMATS:
        (q, k, v, _), rows = heads("a whole block", dtype)
        bounds = torch.tensor([0, *rows.lengths]).cumsum(0).int()
        out, _ = attend(nn.Module(), q[None], k[None], v[None], None, cu_seq_lens_q=bounds, cu_seq_lens_k=bounds)
        assert out.shape == (1, 64, 4, 64)
    assert seen == [1]


@pytest.mark.parametrize("rows", [1, 3, 200])
@pytest.mark.parametrize("width", [2, 16, 40, 576])
@pytest.mark.parametrize("dtype", FORMATS)
def test_norms_activations_and_rotations_of_any_width(kernels, rows, width, dtype):
    near = proof.NEAR[dtype]
    x, dy, gate, up = (drawn(rows, width, seed=n, dtype=dtype) for n in range(4))
    weight = drawn(width, seed=9, dtype=dtype)
    leaf, weight_ = x.double().requires_grad_(True), weight.double().requires_grad_(True)
    right = nn.functional.rms_norm(leaf, (width,), weight_, 1e-3)
    dx, dweight = torch.autograd.grad(right, (leaf, weight_), dy.double())
    y, factor = calls.norm_forward(kernels, x, weight, 1e-3)
    for found, wanted in (
        (y, right.detach()),
        (calls.norm_backward(kernels, x, weight, factor, dy), dx),
        (calls.norm_weight(kernels, x, factor, dy), dweight),
        (calls.gated_forward(kernels, gate, up), nn.functional.silu(gate.double()) * up.double()),
    ):
        assert distance(found, wanted) < near
    three = torch.stack([x, gate, up], dim=1)
    cos, sin = (drawn(rows, width, seed=n, dtype=dtype) for n in (5, 6))
    turned = torch.cat([-three[..., width // 2 :], three[..., : width // 2]], dim=-1)
    wanted = three.double() * cos.double()[:, None] + turned.double() * sin.double()[:, None]
    assert distance(calls.rotate(kernels, three, cos, sin, back=False), wanted) < near


@pytest.mark.parametrize("dtype", FORMATS)
def test_silu_is_right_where_it_is_steep_flat_and_beyond_numbers(kernels, dtype):
    gate = torch.tensor(
        [[0.0, -0.0, 1e-30, 20, -20, 88, -88, 200, -200, 3e38, float("inf"), float("nan")]], dtype=dtype
    )
    found = calls.gated_forward(kernels, gate, torch.ones_like(gate))
    wanted = nn.functional.silu(gate.double())
    assert torch.allclose(found.double(), wanted, rtol=proof.NEAR[dtype], atol=1e-6, equal_nan=True)
    assert torch.equal(found.isnan(), gate.isnan())


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_heads_softmax_far_out_and_with_numbers_that_are_none(kernels, dtype):
    logits = torch.tensor(
        [[0, 0, 0.0], [1000, -1000, 0], [-1000, -1001, -1002], [float("inf"), 0, 0], [0, float("nan"), 1]]
    )
    logits = logits.to(dtype)
    token = torch.tensor([0, 1, 0, 1, 0])
    wanted = torch.log_softmax(logits.double(), -1).gather(-1, token[:, None])[:, 0]
    slopes = logits.clone()
    found = calls.logprobs_(kernels, slopes, token, 1.0, slope=True)
    assert torch.allclose(found[:3].double(), wanted[:3], rtol=1e-6)
    assert found[3:].isnan().all()
    assert torch.allclose(slopes[0].float(), torch.tensor([-2 / 3, 1 / 3, 1 / 3]), atol=proof.NEAR[dtype] / 4)
    assert torch.equal(slopes[1].float(), torch.tensor([1.0, -1.0, 0.0]))


def trained(model: nn.Module, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return {"loss": loss.detach(), **{name: it.grad for name, it in model.named_parameters()}}


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_a_model_with_every_kernel_has_the_gradients_of_the_plain_one(family):
    ids = torch.randint(3, 60, (1, 90), generator=torch.Generator().manual_seed(0))
    plain = trained(tiny_model(family, attention=None).float().train(), ids)
    model = tiny_model(family, attention=None).float().train()
    assert norm.replace(model)
    assert gated.replace(model)
    assert rotary.replace(model)
    fast = trained(model, ids)
    assert fast.keys() == plain.keys()
    for name, right in plain.items():
        assert distance(fast[name], right.double()) < 1e-5, name


def test_rotation_is_exchanged_once_and_switched_with_the_rest(monkeypatch):
    model = tiny_model("llama", attention=None).float()
    assert rotary.replace(model) == rotary.replace(model) == 1
    (namespace,) = upstream.rotating(model)
    rotate = namespace.apply_rotary_pos_emb
    q, k, cos, sin = (
        drawn(*shape, seed=n) for n, shape in enumerate([(1, 4, 5, 8), (1, 2, 5, 8), (1, 5, 8), (1, 5, 8)])
    )
    q = q.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_(True)
    fast = rotate(q, k, cos, sin)
    assert "_Rotated" in str(fast[0].grad_fn)
    monkeypatch.setattr(library.NATIVE, "wanted", False)
    plain = rotate(q, k, cos, sin)
    assert "_Rotated" not in str(plain[0].grad_fn)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(fast, plain, strict=True))
    many = q.detach().repeat(3, 1, 1, 1)
    assert torch.equal(rotate(many, k, cos, sin)[0][2], plain[0][0].detach())


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_head_with_and_without_its_kernel(monkeypatch, scale):
    hidden, weight = drawn(50, 24, seed=0), drawn(300, 24, seed=1)
    token = torch.randint(0, 300, (50,), generator=torch.Generator().manual_seed(2))
    results = []
    for wanted in (True, False):
        monkeypatch.setattr(library.NATIVE, "wanted", wanted)
        leaf = hidden.clone().requires_grad_(True)
        found = head.token_logprobs(leaf, weight, None, token, head.LogitRule(scale=scale), Frozen(weight))
        results.append((found.detach(), *torch.autograd.grad(found.sum(), leaf)))
    for one, other in zip(*results, strict=True):
        assert distance(one, other.double()) < 1e-6


def test_switched_off_nothing_takes_them_and_nothing_is_told(monkeypatch):
    monkeypatch.setattr(library, "NATIVE", library._Native())
    library.NATIVE.wanted = False
    monkeypatch.setattr(library.MAKING, "loaded", lambda: pytest.fail("they were looked for"))
    assert library.library_for(torch.zeros(1)) is None
    assert library.told() == []


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("compiler", True),
        ("failed", True),
        ("threads", True),
        ("folder", True),
        ("processor", False),
        ("system", False),
    ],
)
def test_without_them_torchs_ways_are_taken_and_the_reason_is_told(monkeypatch, why, said):
    def cannot(*_: object, **__: object) -> ctypes.CDLL:
        raise CannotCompile(why, "g++")

    monkeypatch.setattr(library, "NATIVE", library._Native())
    monkeypatch.setattr(library.MAKING, "loaded", cannot)
    library.use(True)
    assert [finding.id for finding in library.told()] == [f"model.native-{why}"] * said
    assert library.library_for(torch.zeros(1)) is None
    model = tiny_model("llama").float()
    assert norm.replace(model) == 5
    assert Policy(model) is not None


def test_kernels_that_come_out_different_are_not_taken(monkeypatch, kernels):
    monkeypatch.setattr(library, "NATIVE", library._Native())
    wrong = calls.gated_forward
    monkeypatch.setattr(calls, "gated_forward", lambda *given: wrong(*given) * 1.1)
    assert library.NATIVE.library() is None
    (finding,) = library.told()
    assert finding.id == "model.native-different"
    assert finding.values["found"] == "gated, float32"


def test_memory_that_runs_out_inside_a_kernel_is_said_to_be_that(monkeypatch, kernels):
    monkeypatch.setitem(kernels._both, "attention_forward", [lambda _: False] * 2)
    tensors, rows = heads("a whole block", torch.float32)
    with pytest.raises(MemoryError, match="attention_forward"):
        ours(*tensors, rows)
