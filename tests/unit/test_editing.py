"""A direction of one pair alone, and the weight edit of rank one that does the same."""

from __future__ import annotations

import pytest
import torch

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.patching import (
    Mediator,
    RankOneEdit,
    compare_patches,
    pair_directions,
    patch_directions,
    patch_subspace,
    rank_one_edit,
    second_moment,
)
from nbtools.runs import forward
from tests.conftest import hooks_left
from tests.families import FAMILIES, bridge
from tests.unit.test_subspace import pairs_of


def test_a_direction_for_each_pair_patches_what_a_subspace_of_it_patches():
    base, source, directions = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    got = patch_directions(base, source, directions)
    for row in range(4):
        unit = directions[row] / directions[row].norm()
        torch.testing.assert_close(got[row], patch_subspace(base[row], source[row], unit[:, None]))
    torch.testing.assert_close(patch_directions(base, base, directions), base)


def test_what_cannot_be_a_direction_is_said():
    values = torch.ones(2, 3)
    with pytest.raises(ArrayError, match=r"same shape \(pair, width\), got \(2, 3\), \(2, 3\), \(3,\)"):
        patch_directions(values, values, torch.ones(3))
    with pytest.raises(ArrayError, match="direction of pair 1 is zero"):
        patch_directions(values, values, torch.tensor([[1.0, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize("seed", range(3))
def test_learned_directions_lower_the_logit_difference_of_their_own_pair(seed):
    model = bridge("Llama")
    mediator = Mediator(model, pairs_of(model, prompts=5), "neurons", layer=1, position=5)
    few, many = (pair_directions(mediator, steps=steps, rate=0.05, seed=seed) for steps in (1, 60))
    torch.testing.assert_close(many.norm(dim=1), torch.ones(5))
    pair = torch.arange(5)
    before, after = (
        mediator.pairs.metric(mediator.logits(patch_directions(mediator.base, mediator.source, part)), pair)
        for part in (few, many)
    )
    assert (after <= before + 1e-6).all() and after.sum() < before.sum()
    assert torch.equal(many, pair_directions(mediator, steps=60, rate=0.05, seed=seed))


@pytest.mark.parametrize("family", ["Llama with groups", "GPT-2", "Qwen2", "Phi-3"])
def test_the_edit_makes_the_layer_write_what_it_writes_under_the_patch(family):
    model = bridge(family)
    pairs, before = pairs_of(model), hooks_left(model)
    mediator = Mediator(model, pairs, "neurons", layer=3, position=7)  # the last, where other positions do not count
    plain = forward(model, pairs.base).logits
    moment = second_moment(model, pairs.source, layer=3)
    directions = torch.randn(mediator.base.shape, generator=torch.Generator().manual_seed(1))
    patched = mediator.logits(patch_directions(mediator.base, mediator.source, directions))
    for pair in range(len(pairs)):
        unit = directions[pair] / directions[pair].norm()
        edit = rank_one_edit(mediator, pair, unit, moment)
        with edit.on(model):
            got = forward(model, pairs.base.ids[pair : pair + 1]).logits[:, -1]
        torch.testing.assert_close(got, patched[pair : pair + 1], atol=1e-4, rtol=0)
        assert (got - plain[pair, -1]).abs().max() > 1e-3
    assert torch.equal(forward(model, pairs.base).logits, plain) and hooks_left(model) == before


def test_an_edit_leaves_the_weights_as_they_were_even_when_its_block_fails():
    model = bridge("Llama")
    weights = {name: value.clone() for name, value in model.named_parameters()}
    edit = RankOneEdit(1, torch.ones(48), torch.ones(32))
    with pytest.raises(ZeroDivisionError), edit.on(model):
        assert not torch.equal(model.blocks[1].mlp.W_out, weights_of(weights, model))
        raise ZeroDivisionError
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())


def weights_of(before, model):
    (name,) = (name for name, value in model.named_parameters()
               if value.data_ptr() == model.blocks[1].mlp.W_out.data_ptr())  # fmt: skip
    return before[name].T


def test_the_edit_disturbs_other_tokens_less_than_one_that_looks_for_the_activation_itself():
    model = bridge("Llama")
    pairs = pairs_of(model, prompts=12)
    mediator = Mediator(model, pairs, "neurons", layer=2, position=4)
    edit = rank_one_edit(mediator, 0, torch.eye(48)[0], second_moment(model, pairs.base, layer=2))
    base = mediator.base[0]
    torch.testing.assert_close(edit.key @ base, torch.tensor(1.0), atol=1e-4, rtol=0)
    plain = base / (base @ base)
    others = mediator.base[1:]
    assert (others @ edit.key).pow(2).mean() < (others @ plain).pow(2).mean()


def test_what_cannot_be_edited_is_said():
    model = bridge("Llama")
    mediator = Mediator(model, pairs_of(model), "mlp_out", layer=1)
    with pytest.raises(InputError, match="expected a mediator of neurons"):
        rank_one_edit(mediator, 0, torch.ones(32), torch.eye(48))
    with (
        pytest.raises(ArrayError, match=r"weights of shape \(48, 32\), got \(5, 32\)"),
        RankOneEdit(1, torch.ones(5), torch.ones(32)).on(model),
    ):
        pass
    for wrong in ({"steps": 0}, {"rate": -1.0}):
        with pytest.raises(InputError, match="above 0"):
            pair_directions(mediator, **wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_edited_or_refused(family):
    model = bridge(family)
    before = forward(model, pairs_of(model).base).logits
    try:
        with RankOneEdit(1, torch.ones(48) / 48, torch.ones(32)).on(model):
            during = forward(model, pairs_of(model).base).logits
    except (HookError, ArrayError) as refused:
        assert "cannot be edited" in str(refused) or "weights of shape" in str(refused)
    else:
        assert not torch.equal(during, before)
    assert torch.equal(forward(model, pairs_of(model).base).logits, before)


def test_patches_of_single_pairs_are_compared_like_any_other():
    model = bridge("Llama")
    mediator = Mediator(model, pairs_of(model), "neurons", layer=1, position=5)
    directions = pair_directions(mediator, steps=2)
    table = compare_patches(mediator, {"own": patch_directions(mediator.base, mediator.source, directions)}, draws=10)
    assert table.patch.values.tolist() == ["none", "own"]
