"""The induction head of two parameters attends as its formulas say, and copies a label where they are large."""

from __future__ import annotations

import math

import pytest
import torch

from nbtools.errors import ArrayError, InputError
from nbtools.training import ClassifierConfig, MinimalInduction, in_context

DATA = in_context(classes=64, labels=8, pairs=4, dimensions=24, most_pairs=4, noise=0.0)
CONFIG = ClassifierConfig(places=9, dimensions=24, labels=8, d_mlp=16)


def drawn(batch=64, seed=0):
    return DATA.sample(batch, torch.Generator().manual_seed(seed))


def patterns(model, tokens):
    return tuple(found.detach() for found in model.attention(tokens))


def test_without_anything_learned_it_looks_everywhere_alike():
    first, second = patterns(MinimalInduction(CONFIG), drawn().tokens)
    torch.testing.assert_close(first[0], torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None])
    torch.testing.assert_close(second, torch.full((64, 9), 1 / 9))


def test_the_first_layer_looks_back_by_its_parameter():
    first, _ = patterns(MinimalInduction(CONFIG, start=(2.0, 0.0)), drawn().tokens)
    for query in range(1, 9):
        assert first[0, query, query - 1] == pytest.approx(math.exp(2) / (math.exp(2) + query))


def test_the_second_layer_follows_what_the_first_has_put_into_the_buffer():
    model, tokens = MinimalInduction(CONFIG, start=(2.0, 3.0)), drawn().tokens
    first, second = patterns(model, tokens)
    content = tokens[..., -24:]
    scores = 3 * torch.einsum("bqk,bkd,bd->bq", first, content, content[:, -1])
    torch.testing.assert_close(second, scores.softmax(-1), atol=1e-6, rtol=1e-5)


def test_with_both_large_it_finds_the_labels_of_the_targets_class():
    episodes = drawn()
    _, second = patterns(MinimalInduction(CONFIG, start=(30.0, 30.0)), episodes.tokens)
    found = (second[:, 1::2] * episodes.matching).sum(1)
    assert found.median() > 0.95


def test_several_side_by_side_are_each_what_they_are_alone():
    together = MinimalInduction(CONFIG, seeds=[1, 2], start=(1.0, 1.0))
    episodes = [drawn(seed=seed) for seed in (1, 2)]
    logits = together(torch.stack([each.tokens for each in episodes]))
    for place, seed in enumerate((1, 2)):
        alone = MinimalInduction(CONFIG, seeds=seed, start=(1.0, 1.0))
        torch.testing.assert_close(logits[place], alone(episodes[place].tokens), atol=1e-6, rtol=1e-5)


def test_both_parameters_have_gradients_once_the_classifier_listens():
    model, episodes = MinimalInduction(CONFIG, start=(0.5, 0.5)), drawn()
    torch.nn.functional.cross_entropy(model(episodes.tokens), episodes.answer).backward()
    assert model.beta.grad.abs() > 0 and model.alpha.grad.abs() > 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="two numbers to start from"):
        MinimalInduction(CONFIG, start=(1.0,))
    with pytest.raises(ArrayError, match=r"tokens \[prompt, position"):
        MinimalInduction(CONFIG)(torch.zeros(2, 9, 5))
