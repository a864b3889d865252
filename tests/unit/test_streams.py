"""Random tokens, repeated: nothing to predict but the repetition, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from nbtools.errors import InputError
from nbtools.tasks import repeated_tokens
from tests.conftest import CONTEXT, VOCABULARY


def test_the_same_draw_is_written_again_and_no_token_occurs_twice_in_it(tiny):
    ids = repeated_tokens(tiny, length=9, prompts=3, repeats=4)
    assert ids.shape == (3, 36)
    draws = ids.reshape(3, 4, 9)
    assert (draws == draws[:, :1]).all()
    assert all(len(set(draw.tolist())) == 9 for draw in draws[:, 0])
    assert len({tuple(draw.tolist()) for draw in draws[:, 0]}) == 3


def test_a_seed_decides_the_draw_and_the_global_generator_is_left_alone(tiny):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = repeated_tokens(tiny, length=9, seed=5)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, repeated_tokens(tiny, length=9, seed=5))
    assert not torch.equal(first, repeated_tokens(tiny, length=9, seed=6))


@pytest.mark.model
def test_no_special_token_is_drawn(model):
    ids = repeated_tokens(model, length=2000, prompts=2)
    assert not set(ids.flatten().tolist()) & set(model.tokenizer.all_special_ids)


@pytest.mark.parametrize(("length", "repeats"), [(0, 2), (VOCABULARY + 1, 1), (CONTEXT // 2 + 1, 2)])
def test_a_length_that_does_not_fit_is_refused_with_the_bounds(tiny, length, repeats):
    with pytest.raises(InputError, match=f"length must be between 1 and .* got {length}"):
        repeated_tokens(tiny, length=length, repeats=repeats)
