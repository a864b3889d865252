"""Attention sinks are measured as their definitions say, on models of several families."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from nbtools import measures
from nbtools.errors import HookError, InputError
from nbtools.patching import ablation
from nbtools.runs import forward
from tests.conftest import hooks_left
from tests.families import bridge

IDS = torch.tensor([[5, 17, 3, 88, 17, 9, 40], [6, 11, 3, 88, 11, 9, 4]])
FAMILIES = ["Llama with groups", "GPT-2", "Qwen3", "Gemma-2", "native"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [0, 3])
def test_the_mass_is_the_mean_over_queries_that_can_look(family, start):
    model = bridge(family)
    found = measures.sink_mass(model, IDS, start=start)
    pattern = measures.attention(model, IDS)
    for key in range(7):
        expected = pattern.sel(query=slice(max(start, key), None), key=key).mean("query")
        np.testing.assert_allclose(found.sel(key=key), expected, atol=1e-6)
    assert found.dims == ("prompt", "layer", "head", "key") and hooks_left(model) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_value_norm_is_that_of_what_a_head_writes_of_one_token(family):
    model = bridge(family)
    found = measures.value_norms(model, IDS, layers=[1, 3])
    for layer in (1, 3):
        name, block = f"blocks.{layer}.attn.hook_v", model.blocks[layer]
        values = forward(model, IDS, capture=[name])[name]
        values = values.repeat_interleave(4 // values.shape[2], 2)
        written = torch.einsum("bphd,hdm->bhpm", values, block.attn.W_O)
        if hasattr(block, "ln1_post"):  # a gain after attention, of which the division differs from sum to sum
            gain = block.ln1_post.original_component.weight
            written = written * (1 + gain)
        np.testing.assert_allclose(found.sel(layer=layer), written.norm(dim=-1).detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_of_the_stream_are_those_after_each_layer(family):
    model = bridge(family)
    found = measures.residual_norms(model, IDS)
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(4)]
    run = forward(model, IDS, capture=names)
    np.testing.assert_allclose(found, torch.stack([run[name].norm(dim=-1) for name in names], 1), rtol=1e-5)


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "native"])
def test_a_sink_logit_is_the_lead_of_the_first_token(family):
    model = bridge(family)
    found = measures.sink_logits(model, IDS, layers=2).sel(layer=2)
    pattern = measures.attention(model, IDS, layers=2).sel(layer=2)
    scores = np.log(pattern.where(pattern > 0))  # up to a number for each query, which the difference does not see
    for query in range(1, 7):
        lead = scores.sel(query=query, key=0) - scores.sel(query=query, key=slice(1, query)).mean("key")
        np.testing.assert_allclose(found.sel(query=query), lead, atol=1e-4)
    assert found.sel(query=0).isnull().all()
    if family != "native":  # which scales its scores only later
        name = "blocks.2.attn.hook_attn_scores"
        raw = forward(model, IDS, capture=[name])[name]
        np.testing.assert_allclose(found.sel(query=6), raw[:, :, 6, 0] - raw[:, :, 6, 1:7].mean(-1), atol=1e-4)


def test_an_edit_reaches_what_is_measured():
    model = bridge("Llama with groups")
    edit = {"blocks.0.hook_resid_post": lambda stream: stream * 2}
    before, after = measures.residual_norms(model, IDS), measures.residual_norms(model, IDS, edit=edit)
    np.testing.assert_allclose(after.sel(layer=0), 2 * before.sel(layer=0), rtol=1e-5)
    assert hooks_left(model) == 0


def test_what_cannot_be_measured_is_refused():
    model = bridge("Llama with groups")
    for start in (-1, 7, True, 1.5):
        with pytest.raises(InputError, match="expected start to be a position from 0 to 6"):
            measures.sink_mass(model, IDS, start=start)
    with pytest.raises(HookError, match="expected layers between 0 and 3"):
        measures.value_norms(model, IDS, layers=4)


def test_one_prompt_has_its_tokens_as_labels():
    found = measures.sink_mass(bridge("Llama with groups"), IDS[0])
    assert found.dims == ("layer", "head", "key") and found.key_token.values.tolist() == list(map(str, IDS[0].tolist()))


def look_at_the_first(pattern, head):
    pattern[:, head] = 0
    pattern[:, head, :, 0] = 1


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "native"])
def test_dormancy_is_what_is_lost_without_a_head(family):
    model = bridge(family)
    found = measures.dormancy(model, IDS, ["1.2", "3.0"], start=2, batch=1)
    loss = measures.surprise(model, IDS)[:, 2:].mean("position")
    np.testing.assert_allclose(found.loss, loss, atol=1e-5)
    pattern = measures.attention(model, IDS)
    for name, (layer, head) in {"1.2": (1, 2), "3.0": (3, 0)}.items():
        here = found.sel(head=name)
        paid = pattern.sel(layer=layer, head=head, key=0, query=slice(2, None)).mean("query")
        np.testing.assert_allclose(here.attention, paid, atol=1e-6)
        without = measures.surprise(model, IDS, edit=ablation(model, "z", heads=name))[:, 2:].mean("position")
        np.testing.assert_allclose(here.ablated, without - loss, atol=1e-5)
        put = {f"blocks.{layer}.attn.hook_pattern": partial(look_at_the_first, head=head)}
        forced = measures.surprise(model, IDS, edit=put)[:, 2:].mean("position")
        np.testing.assert_allclose(here.forced, forced - loss, atol=1e-5)
    assert hooks_left(model) == 0
    for options in ({"sink": 3, "start": 3}, {"start": 7}, {"batch": 0}):
        with pytest.raises(InputError, match="expected"):
            measures.dormancy(model, IDS, "1.2", **options)
