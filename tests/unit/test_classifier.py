"""The network for in-context classification: sizes, hooks, and several networks that are each as if alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from nbtools.errors import ArrayError, InputError
from nbtools.training import ClassifierConfig, InContextClassifier
from nbtools.training.in_context import in_context

SMALL = ClassifierConfig(places=11, dimensions=6, labels=4, d_mlp=8)
DATA = in_context(classes=8, labels=4, pairs=2, dimensions=6, most_pairs=5)


def drawn(seed=0, batch=16):
    return DATA.sample(batch, torch.Generator().manual_seed(seed))


def test_networks_side_by_side_are_each_what_they_are_alone():
    together = InContextClassifier(SMALL, seeds=[3, 5])
    episodes = [drawn(seed) for seed in (3, 5)]
    logits = together(torch.stack([each.tokens for each in episodes]))
    for place, seed in enumerate((3, 5)):
        alone = InContextClassifier(SMALL, seeds=seed)
        torch.testing.assert_close(logits[place], alone(episodes[place].tokens), atol=1e-6, rtol=1e-5)
        for name, values in together.state_dict().items():
            assert torch.equal(values[place], alone.state_dict()[name])


def test_their_gradients_do_not_mix():
    together = InContextClassifier(SMALL, seeds=[3, 5])
    episodes = drawn()
    logits = together(torch.stack([episodes.tokens] * 2))
    cross_entropy(logits[0], episodes.answer).backward()
    alone = InContextClassifier(SMALL, seeds=3)
    cross_entropy(alone(episodes.tokens), episodes.answer).backward()
    for name, parameter in together.named_parameters():
        torch.testing.assert_close(parameter.grad[0], dict(alone.named_parameters())[name].grad, atol=1e-6, rtol=1e-4)
        assert not parameter.grad[1].any()


def test_rows_of_attention_add_up_and_look_at_nothing_later():
    model = InContextClassifier(SMALL)
    _, cache = model.run_with_cache(drawn().tokens)
    first, second = (cache[f"blocks.{layer}.attn.hook_pattern"] for layer in (0, 1))
    assert first.shape == (16, 5, 5) and second.shape == (16, 1, 5)  # of the last layer the target alone
    torch.testing.assert_close(first.sum(-1), torch.ones(16, 5))
    assert not first.triu(1).any()


def test_what_follows_the_definition_gives_the_same_logits():
    model = InContextClassifier(SMALL)
    stream = drawn().tokens
    for block in model.blocks:
        attn = block.attn
        scores = (stream @ attn.W_Q) @ (stream @ attn.W_K).transpose(1, 2)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        stream = stream + scores.softmax(-1) @ (stream @ attn.W_V)
    last = stream[:, -1]
    for layer in model.classify.layers:
        last = (last @ layer.W + layer.b).relu()
    torch.testing.assert_close(model(drawn().tokens), last @ model.classify.W_U, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("hook", sorted(InContextClassifier(SMALL).hook_dict))
def test_every_hook_is_live(hook):
    model, tokens = InContextClassifier(SMALL), drawn().tokens
    plain = model(tokens)
    generator = torch.Generator().manual_seed(0)
    noisy = model.run_with_hooks(
        tokens, fwd_hooks=[(hook, lambda value, hook: value + torch.rand(value.shape, generator=generator))]
    )
    assert (noisy - plain).abs().max() > 1e-4


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ArrayError, match=r"\[prompt, position, 17\]"):
        InContextClassifier(SMALL)(torch.zeros(2, 3, 16))
    with pytest.raises(ArrayError, match=r"\[seed, prompt, position, 17\]"):
        InContextClassifier(SMALL, seeds=[0])(torch.zeros(2, 3, 17))
    with pytest.raises(InputError, match="d_mlp to be a positive"):
        ClassifierConfig(d_mlp=0)
    with pytest.raises(InputError, match="one seed or more"):
        InContextClassifier(SMALL, seeds=[])
