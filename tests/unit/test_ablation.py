"""What is taken out is what was named, and what is put there is what was asked for."""

from __future__ import annotations

import pytest
import torch

from nbtools.errors import ArrayError, InputError
from nbtools.patching import ablation, steering
from nbtools.runs import forward
from tests.families import bridge

IDS = [5, 17, 3, 88, 9]
Z = "blocks.1.attn.hook_z"


def z_under(edit, ids=IDS):
    return forward(bridge("Llama"), ids, edit=edit, capture=[Z])[Z]


def test_only_the_named_head_and_positions_become_zero():
    edited, plain = z_under(ablation(bridge("Llama"), "z", heads="1.2", positions=[3])), z_under({})
    assert (edited[:, 3, 2] == 0).all()
    edited[:, 3, 2] = plain[:, 3, 2]
    assert torch.equal(edited, plain)


def test_a_mean_is_that_of_the_reference_and_a_draw_is_one_of_its_prompts():
    model = bridge("Llama")
    reference = torch.randint(101, (3, 5), generator=torch.Generator().manual_seed(0))
    there = z_under({}, reference)
    mean = z_under(ablation(model, "z", layers=1, kind="mean", reference=reference))
    torch.testing.assert_close(mean, there.mean((0, 1)).expand_as(mean))
    many = torch.tensor([IDS]).repeat(300, 1)
    drawn = z_under(ablation(model, "z", layers=1, kind="resample", reference=reference), many)
    which = (drawn[:, None] == there[None]).flatten(2).all(-1)
    assert (which.sum(1) == 1).all()
    assert which.any(0).all()
    with pytest.raises(ArrayError, match="the reference has 5 tokens, this prompt 4"):
        z_under(ablation(model, "z", layers=1, kind="resample", reference=reference), IDS[:4])


def test_a_reference_goes_with_a_kind_that_needs_one():
    for options in ({"kind": "mean"}, {"reference": IDS}, {"kind": "half"}):
        with pytest.raises(InputError, match="expected kind 'zero' without reference="):
            ablation(bridge("Llama"), "z", **options)


def test_a_direction_is_added_where_it_is_asked_for_and_must_fit():
    model, hook = bridge("Llama"), "blocks.1.hook_resid_post"
    direction = torch.arange(32.0)
    edit = steering(model, direction, layer=1, coefficient=0.5, positions=[2])
    moved, plain = (forward(model, IDS, edit=change, capture=[hook])[hook] for change in (edit, {}))
    torch.testing.assert_close((moved - plain)[0, 2], 0.5 * direction, atol=1e-5, rtol=0)
    assert torch.equal(moved[0, [0, 1, 3, 4]], plain[0, [0, 1, 3, 4]])
    with pytest.raises(ArrayError, match=r"the direction has shape \(3,\), resid_post in layer 1 needs \(32,\)"):
        forward(model, IDS, edit=steering(model, torch.ones(3), layer=1))
