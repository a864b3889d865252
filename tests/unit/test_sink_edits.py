"""The attention sink is moved, hidden, emptied and cut down as each intervention says, and nothing else is changed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from nbtools import measures, patching
from nbtools.errors import InputError
from nbtools.patching import SINK_INTERVENTIONS, intervene, quantize, sink_costs
from nbtools.runs import forward
from nbtools.tasks import windows
from nbtools.training import TinyConfig, TinyTransformer
from tests.conftest import hooks_left
from tests.families import bridge

IDS = torch.tensor([[5, 17, 3, 88, 17, 9, 40], [6, 11, 3, 88, 11, 9, 4]])
FAMILIES = ["Llama with groups", "GPT-2", "Qwen3", "Gemma-2", "native"]
BIG = torch.tensor([3.0, -900.0, 2.0, 1.0])


@pytest.fixture
def peaked():
    """Give a model of which the stream holds a massive activation at the first token, in dimension 1."""
    torch.manual_seed(0)
    model = TinyTransformer(TinyConfig(layers=3, d_model=4, d_head=4, d_mlp=4, length=8))
    with torch.no_grad():
        model.pos_embed.W_pos[0] += BIG * 1e3
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_the_first_token_gets_nothing_and_rows_keep_their_sum(family):
    model = bridge(family)
    read, edit = intervene(model, IDS, "hidden")
    hook = "blocks.0.attn.hook_pattern"
    before, after = (forward(model, read, capture=[hook], edit=made)[hook][:, :, 1:] for made in (None, edit))
    assert (after[..., 0] == 0).all()
    torch.testing.assert_close(after.sum(-1), before.sum(-1))
    shares = before[..., 1:] / before[..., 1:].sum(-1, keepdim=True)
    torch.testing.assert_close(after[..., 1:], shares)
    assert hooks_left(model) == 0


def test_hidden_a_row_that_has_nothing_else_is_spread_evenly():
    model = bridge("Llama with groups")
    _, edit = intervene(model, IDS, "hidden")
    only = torch.zeros(1, 1, 4, 4)
    only[..., 0] = 1
    edit["blocks.0.attn.hook_pattern"](only)
    assert only[0, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, *[pytest.approx(1 / 3)] * 3]]


@pytest.mark.parametrize("family", FAMILIES)
def test_emptied_heads_read_nothing_of_the_first_token(family):
    model = bridge(family)
    read, edit = intervene(model, IDS, "emptied")
    norms = measures.value_norms(model, read, edit=edit)
    assert (norms.sel(position=0) == 0).all() and (norms.sel(position=1) > 0).all()
    plain = forward(model, read, capture=["blocks.0.attn.hook_z"], edit=edit)["blocks.0.attn.hook_z"]
    assert (plain[:, 0] == 0).all()  # the first query sees only the first token


@pytest.mark.model
def test_replaced_and_prepended_change_the_tokens_alone(model):
    text = "The old harbour town woke slowly."
    plain, _ = intervene(model, text, "unchanged")
    replaced, edit = intervene(model, text, "replaced", token=" A")
    assert not edit and replaced.labels[0] == [" A", *plain.labels[0][1:]] and replaced.single
    prepended, edit = intervene(model, text, "prepended")
    assert not edit and prepended.labels[0] == [model.tokenizer.bos_token, *plain.labels[0]]


def test_clamped_the_first_token_is_cut_down_to_the_largest_of_the_others(peaked):
    ids = torch.tensor([[0, 5, 3, 7, 2]])
    found = measures.massive_activations(peaked, ids[0], ratio=100)
    assert set(found.position.values) == {0} and 1 in found.dimension.values
    read, edit = intervene(peaked, ids, "clamped", dimensions=[1])
    hooks = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]
    run = forward(peaked, read, capture=hooks, edit=edit)
    for hook in hooks:
        size = run[hook][0].abs()
        assert size[0, 1] <= size[1:, 1].max() and size[0, 0] > 1000


def test_massive_activations_are_those_above_both_bounds(peaked):
    ids = torch.tensor([0, 5, 3, 7, 2])
    found = measures.massive_activations(peaked, ids, floor=100, ratio=50, layers=[2])
    stream = forward(peaked, ids, capture=["blocks.2.hook_resid_post"])["blocks.2.hook_resid_post"][0]
    size = stream.abs()
    expected = {tuple(place) for place in ((size > 100) & (size > 50 * size.median())).nonzero().tolist()}
    assert expected and set(zip(found.position.values, found.dimension.values, strict=True)) == expected
    assert (np.diff(abs(found.value)) <= 0).all()
    share = stream[0, 1] ** 2 / (stream[0] ** 2).sum()
    assert found.share[found.dimension == 1].item() == pytest.approx(share.item(), rel=1e-5)


def test_without_massive_activations_the_list_is_empty_and_nothing_can_be_cut_down():
    model = bridge("Llama with groups")
    assert measures.massive_activations(model, IDS[0]).sizes["activation"] == 0
    with pytest.raises(InputError, match="may have no massive activations"):
        intervene(model, IDS, "clamped")


@pytest.mark.model
def test_costs_are_those_of_each_intervention_on_the_same_tokens(model):
    ids = windows(model, "prose", prompts=3, length=20)
    found = sink_costs(model, ids, batch=2, start=6)
    assert found.intervention.values.tolist() == list(SINK_INTERVENTIONS)
    massive = measures.massive_activations(model, ids[0])
    dimensions = set(massive.dimension[massive.position == 0].values.tolist())
    for kind in SINK_INTERVENTIONS:
        read, edit = intervene(model, ids, kind, dimensions=dimensions if kind == "clamped" else None)
        first = 6 + (kind == "prepended")
        loss = measures.surprise(model, read, edit=edit)[:, first:].mean("position")
        np.testing.assert_allclose(found.loss.sel(intervention=kind), loss, atol=2e-3)
    paid = measures.attention(model, ids).sel(query=slice(6, None), key=0).mean("query")
    unchanged = found.sink_rate.sel(intervention="unchanged")
    np.testing.assert_allclose(unchanged, (paid > 0.3).mean(("layer", "head")))
    assert hooks_left(model) == 0


def test_costs_of_a_model_without_tokenizer_where_they_can_be_had():
    model = bridge("GPT-2")
    found = sink_costs(model, IDS, kinds=["unchanged", "emptied", "hidden"], start=3)
    assert found.sizes == {"intervention": 3, "prompt": 2} and bool(
        (found.sink_rate.sel(intervention="hidden") == 0).all()
    )
    with pytest.raises(InputError, match="replace the first token instead"):
        sink_costs(model, IDS, kinds=["prepended"], start=3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (partial(intervene, kind="moved"), "one of unchanged, replaced"),
        (partial(sink_costs, start=7), "2 ≤ start < 7"),
        (partial(sink_costs, start=3, batch=0), "a batch of one prompt or more"),
        (partial(sink_costs, start=3, kinds=[]), "one intervention or more"),
        (partial(intervene, kind="clamped", dimensions=[9999]), "dimensions of the residual stream from 0 to 31"),
    ],
)
def test_what_does_not_fit_is_refused_and_no_hook_is_left(call, said):
    model = bridge("Llama with groups")
    with pytest.raises(InputError, match=said):
        call(model, IDS)
    assert hooks_left(model) == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at", ["stream", "inputs"])
def test_more_bits_change_less(family, at):
    model = bridge(family)
    plain = forward(model, IDS).logits
    away = [
        (forward(model, IDS, edit=quantize(model, bits=bits, at=at)).logits - plain).abs().max() for bits in (3, 8, 16)
    ]
    assert away[0] > away[1] > away[2] and away[2] < 0.05 * away[0] and hooks_left(model) == 0


def test_each_prompt_is_rounded_to_its_own_scale_and_what_is_spared_stays():
    model = bridge("Llama with groups")
    edit = quantize(model, bits=4, dimensions=[1], positions=[0])["blocks.0.hook_resid_post"]
    stream = torch.randn(2, 5, 32) * torch.tensor([1.0, 50.0])[:, None, None]
    stream[:, :, 1], stream[:, 0] = 1e6, 1e5
    found = edit(stream)
    assert torch.equal(found[:, 0], stream[:, 0]) and torch.equal(found[:, :, 1], stream[:, :, 1])
    rest = torch.ones(32, dtype=torch.bool)
    rest[1] = False
    for own, rounded in zip(stream[:, 1:, rest], found[:, 1:, rest], strict=True):
        step = own.abs().max() / 7
        torch.testing.assert_close(rounded, (own / step).round() * step)
        assert len(rounded.unique()) <= 15


def test_a_prompt_of_zeros_stays_zero():
    edit = quantize(bridge("Llama with groups"))["blocks.0.hook_resid_post"]
    assert (edit(torch.zeros(1, 3, 32)) == 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 1}, "2 to 16 bits"),
        ({"at": "weights"}, "one of stream, inputs"),
        ({"dimensions": [32]}, "dimensions from 0 to 31"),
        ({"positions": [-1]}, "positions from 0"),
    ],
)
def test_bad_options_of_rounding_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        patching.quantize(bridge("Llama with groups"), **options)
