"""Small transformers: each kind of attention does what it says, and all of nbtools reads them as any hooked model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import nbtools as nb
from nbtools.errors import ArrayError, HookError, InputError, PromptError
from nbtools.models.tokens import tokens
from nbtools.training import ATTENTION, TinyConfig, TinyTransformer
from tests.conftest import hooks_left

KINDS = [kind for kind in ATTENTION if kind != "none"]
LABELS = ("<bos>", *"abcdefg ")
SMALL = TinyConfig(layers=2, heads=2, d_model=16, d_head=8, d_mlp=24, length=12, vocabulary=len(LABELS))


def tiny(kind: str = "softmax", **options) -> TinyTransformer:
    return TinyTransformer(replace(SMALL, attention=kind, **options), LABELS)


def ids(batch: int = 3, length: int = 10) -> torch.Tensor:
    return torch.randint(len(LABELS), (batch, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_point_of_every_kind_is_live(kind):
    model = tiny(kind)
    for layer in range(2):
        found = nb.liveness(model, layer=layer)
        assert set(found.states.values()) == {"live"}
        assert f"blocks.{layer}.attn.hook_pattern" in found.states
    assert hooks_left(model) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_hook_points_have_the_names_and_shapes_of_transformer_lens(kind):
    model = tiny(kind)
    run = nb.runs.forward(model, ids(), capture=list(model.hook_dict))
    shapes = {name: tuple(value.shape) for name, value in run.cache.items()}
    stream, heads, square = (3, 10, 16), (3, 10, 2, 8), (3, 2, 10, 10)
    expected = {"hook_embed": stream, "hook_pos_embed": stream, "ln_final.hook_normalized": stream}
    expected |= {"unembed.hook_out": (3, 10, len(LABELS))}
    for layer in range(2):
        parts = dict.fromkeys(("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out"), stream)
        parts |= dict.fromkeys(("hook_resid_post", "ln1.hook_normalized", "ln2.hook_normalized"), stream)
        parts |= dict.fromkeys(("attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z"), heads)
        parts |= dict.fromkeys(("attn.hook_attn_scores", "attn.hook_pattern"), square)
        parts |= dict.fromkeys(("mlp.hook_pre", "mlp.hook_post"), (3, 10, 24))
        parts |= {"attn.hook_gate": (3, 10, 2)} if kind == "gated" else {}
        expected |= {f"blocks.{layer}.{name}": shape for name, shape in parts.items()}
    assert shapes == expected


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_attention_are_what_the_definition_says(kind):
    model = tiny(kind, gamma=-0.1, zeta=1.1)
    names = [f"blocks.0.attn.hook_{part}" for part in ("q", "k", "attn_scores", "pattern")]
    q, k, scores, pattern = nb.runs.forward(model, ids(), capture=names).cache.values()
    later = torch.ones(10, 10, dtype=torch.bool).triu(1)
    own = torch.einsum("bqhe,bkhe->bhqk", q, k) / math.sqrt(8)
    assert torch.allclose(scores[..., ~later], own[..., ~later], atol=1e-5) and (scores[..., later] == -math.inf).all()
    shares = own.masked_fill(later, -math.inf).softmax(-1)
    expected = {
        "softmax": shares,
        "gated": shares,
        "clipped": (1.2 * shares - 0.1).clamp(0, 1),
        "relu": own.masked_fill(later, 0).relu() / torch.arange(1, 11)[:, None],
    }[kind]
    assert torch.allclose(pattern, expected, atol=1e-5)
    assert (pattern[..., later] == 0).all()
    if kind in ("softmax", "gated"):
        assert torch.allclose(pattern.sum(-1), torch.ones(3, 2, 10), atol=1e-5)


def test_gates_are_a_quarter_open_at_first_and_a_closed_one_silences_its_head():
    model, plain = tiny("gated"), tiny("softmax")
    run = nb.runs.forward(model, ids(), capture=["blocks.0.attn.hook_gate", "blocks.0.attn.hook_z"])
    assert torch.allclose(run["blocks.0.attn.hook_gate"], torch.tensor(0.25))
    ungated = nb.runs.forward(plain, ids(), capture=["blocks.0.attn.hook_z"])["blocks.0.attn.hook_z"]
    assert torch.allclose(run["blocks.0.attn.hook_z"], 0.25 * ungated, atol=1e-6)

    def close(gate):
        gate[..., 1] = 0

    edit = {"blocks.0.attn.hook_gate": close}
    z = nb.runs.forward(model, ids(), capture=["blocks.0.attn.hook_z"], edit=edit)["blocks.0.attn.hook_z"]
    assert (z[:, :, 1] == 0).all() and (z[:, :, 0] != 0).any()


@pytest.mark.parametrize("kind", ATTENTION)
def test_no_position_knows_a_later_token(kind):
    model, one = tiny(kind), ids()
    other = one.clone()
    other[:, 6:] = (other[:, 6:] + 1) % len(LABELS)
    with torch.no_grad():
        assert torch.equal(model(one)[:, :6], model(other)[:, :6])
        assert not torch.equal(model(one)[:, 6:], model(other)[:, 6:])


@pytest.mark.parametrize("kind", KINDS)
def test_measures_read_it(kind):
    model = tiny(kind)
    pattern = nb.measures.attention(model, ids())
    scores = nb.measures.head_scores(model, ids(), measures=["first_token", "previous_token"])
    assert pattern.dims == ("prompt", "layer", "head", "query", "key")
    by_hand = pattern.isel(key=0, query=slice(1, None)).mean(("prompt", "query"))
    assert np.allclose(scores.first_token.values, by_hand.values, atol=1e-6)
    assert nb.describe(model).heads == 2 and "TinyTransformer" in repr(nb.describe(model))


def test_weights_are_read_and_activations_patched_as_in_any_model():
    model = tiny()
    assert nb.measures.ov_circuit(model, "1.1").AB.shape == (16, 16)
    assert nb.measures.copying_scores(model, layers=1).shape == (2, 2)
    task = nb.tasks.pair(model, "abcab", "abdab", answer="d", wrong="c")
    effect = nb.patching.patch(model, task, "resid_pre")
    assert float(effect.sel(layer=0).max()) == pytest.approx(1, abs=1e-4)
    silent = nb.runs.forward(model, ids(), edit={"blocks.0.hook_resid_mid": torch.zeros_like}).logits
    assert not torch.equal(silent, nb.runs.forward(model, ids()).logits)


def test_text_is_read_and_shown_character_by_character():
    model = tiny()
    read = tokens(model, "bad cab")
    assert read.ids.tolist() == [[0, 2, 1, 4, 8, 3, 1, 2]]
    assert read.labels == [["<bos>", *"bad cab"]]
    assert nb.measures.attention(model, "bad cab").key_token.values.tolist() == ["<bos>", *"bad cab"]
    assert model.tokenizer.decode([2, 1, 4], clean_up_tokenization_spaces=False) == "bad"
    assert nb.tasks.repeated_tokens(model, length=4, prompts=2).min() > 0, "<bos> is special"
    explorer = nb.explorers.attention(model, "bad cab")
    explorer.text = "abc"
    assert explorer.result.pattern.sizes["query"] == 4
    with pytest.raises(PromptError, match="knows the characters 'abcdefg ', got 'xy': leave it out"):
        nb.runs.forward(model, "abxy")


def test_without_labels_tokens_are_numbers():
    model = TinyTransformer(SMALL)
    assert model.tokenizer is None
    assert tokens(model, [3, 1]).labels == [["3", "1"]]
    with pytest.raises(PromptError, match="no tokenizer"):
        nb.runs.forward(model, "ab")


def test_a_layer_can_be_without_attention_and_a_model_without_mlps():
    model = TinyTransformer(replace(SMALL, layers=3, attention=("none", "softmax", "none")), LABELS)
    assert not any(name.startswith(("blocks.0.attn", "blocks.2.attn", "blocks.0.ln1")) for name in model.hook_dict)
    assert nb.measures.attention(model, ids(), layers=1).sizes["layer"] == 1
    with pytest.raises(HookError, match=r"no hook point 'blocks.0.attn.hook_pattern'"):
        nb.measures.attention(model, ids())
    bare = tiny(d_mlp=0)
    assert not any("mlp" in name or "ln2" in name for name in bare.hook_dict) and bare.cfg.attn_only
    assert set(nb.liveness(bare).states.values()) == set(nb.liveness(model).states.values()) == {"live"}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 61_824),
        ({"d_mlp": 0}, 28_928),
        ({"layers": 3}, 160_640),
        ({"layers": 3, "attention": ("none", "softmax", "none")}, 127_616),
        ({"attention": "gated"}, 61_824 + 65),
    ],
)
def test_sizes_are_those_of_the_paper_scaled_down(options, parameters):
    model = TinyTransformer(TinyConfig(**options))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_weights_begin_as_asked_from_the_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    config = TinyConfig(d_mlp=512, embedding_scale=2.0, weight_scale=0.5)
    first, second, other = (
        TinyTransformer(config, generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (3, 3, 4)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.W_E"], other["embed.W_E"])
    for name, deviation in {
        "embed.W_E": 2.0, "pos_embed.W_pos": 2.0, "blocks.0.attn.W_Q": 0.5 / 8, "blocks.0.attn.W_O": 0.5 / 8,
        "blocks.0.mlp.W_in": 0.5 / 8, "blocks.0.mlp.W_out": 0.5 / math.sqrt(512), "unembed.W_U": 0.5 / 8,
    }.items():  # fmt: skip
        assert float(first[name].std()) == pytest.approx(deviation, rel=0.05), name


def test_it_can_be_stopped_moved_and_left_without_norms():
    model = tiny()
    run = nb.runs.forward(model, ids(), capture=["blocks.1.hook_resid_pre"])
    with torch.no_grad():
        assert torch.equal(model(ids(), stop_at_layer=1), run["blocks.1.hook_resid_pre"])
        assert torch.equal(model(ids(), stop_at_layer=-1), run["blocks.1.hook_resid_pre"])
    double = tiny(norm=False).double()
    assert double.cfg.dtype == torch.float64 and nb.runs.forward(double, ids()).logits.dtype == torch.float64
    assert not model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "whole numbers from 1 .* got layers=0"),
        ({"d_mlp": -1}, "got d_mlp=-1"),
        ({"heads": True, "d_head": 2.5}, "got heads=True, d_head=2.5"),
        ({"attention": "linear"}, "unknown attention 'linear': expected one of softmax, relu"),
        ({"layers": 3, "attention": ("none", "softmax")}, "each of 3 layers, got 2: none, softmax"),
        ({"open_share": 1.0}, "open_share between 0 and 1"),
        ({"gamma": 0.1}, "gamma at most 0"),
    ],
)
def test_a_model_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        TinyConfig(**options)


def test_what_it_cannot_read_is_refused():
    with pytest.raises(InputError, match="a label for each of 9 tokens, got 2"):
        TinyTransformer(SMALL, ("a", "b"))
    with pytest.raises(ArrayError, match=r"at most 12 tokens .* shape \(1, 13\)"):
        tiny()(torch.zeros((1, 13), dtype=torch.long))
    with pytest.raises(ArrayError, match=r"return_type='logits', got .* 'loss'"):
        tiny()(ids(), return_type="loss")
    with pytest.raises(PromptError, match="at most 12"):
        nb.runs.forward(tiny(), "a" * 20)
