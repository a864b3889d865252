"""The in-context classification data is, property by property, what its definition says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbtools.errors import InputError
from nbtools.training.in_context import EPISODES, InContext, in_context

SMALL = {"classes": 32, "labels": 8, "pairs": 4, "dimensions": 6, "most_pairs": 5}


def drawn(data, *, kind="train", batch=400, seed=0):
    return data.sample(batch, torch.Generator().manual_seed(seed), kind=kind)


def items_of(data, episodes):
    return episodes.tokens[:, ::2, 2 * data.most_pairs + 1 :]


def nearest(vectors, items):
    """Give the class whose center is nearest to each item."""
    return torch.cdist(items, vectors.expand(len(items), -1, -1)).argmin(-1)


@pytest.mark.parametrize("burstiness", [1, 2, 4])
@pytest.mark.parametrize("zipf", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["train", "novel", "swapped"])
def test_a_bursty_context_holds_each_of_its_classes_so_often_and_no_label_twice(burstiness, zipf, kind):
    data = in_context(**SMALL, burstiness=burstiness, zipf=zipf)
    episodes = drawn(data, kind=kind)
    counts = torch.stack([torch.bincount(row, minlength=8) for row in episodes.context])
    assert set(counts.unique().tolist()) == {0, burstiness} and (counts.sum(1) == 4).all()
    assert (episodes.matching.sum(1) == burstiness).all()
    assert (episodes.context[episodes.matching] == episodes.answer.repeat_interleave(burstiness)).all()
    assert abs(episodes.matching.float().mean(0) - burstiness / 4).max() < 0.1


def test_items_are_their_class_and_noise_of_the_size_that_was_asked_for():
    data = in_context(classes=8, labels=8, pairs=4, dimensions=400, most_pairs=4, noise=0.5, burstiness=1)
    items = items_of(data, drawn(data, batch=200))
    known = nearest(data.class_vectors, items)
    away = items * np.sqrt(1 + 0.5**2) - data.class_vectors[known]
    assert away.std() * np.sqrt(400) == pytest.approx(0.5, rel=0.02)
    assert items.norm(dim=-1).mean() == pytest.approx(1, rel=0.05)


def test_a_class_has_its_label_and_swapped_ones_the_next():
    data = in_context(**SMALL, noise=0.0)
    for kind, shift in (("train", 0), ("weights", 0), ("swapped", 1)):
        episodes = drawn(data, kind=kind)
        known = nearest(data.class_vectors, items_of(data, episodes))
        assert torch.equal(episodes.context, (known[:, :-1] + shift) % 8)
        assert torch.equal(episodes.answer, (known[:, -1] + shift) % 8)
        assert torch.equal(episodes.matching, known[:, :-1] == known[:, -1:])


def test_labels_of_the_context_are_exact_and_follow_their_items():
    data = in_context(**SMALL)
    episodes = drawn(data)
    torch.testing.assert_close(episodes.tokens[:, 1::2, 11:], data.label_vectors[episodes.context])


def test_positions_follow_each_other_from_a_random_place():
    data = in_context(**SMALL)
    places = drawn(data).tokens[..., :11]
    assert (places.sum(-1) == 1).all()
    where = places.argmax(-1)
    assert (where.diff(dim=1) == 1).all() and set(where[:, 0].tolist()) == {0, 1, 2}


def test_novel_classes_are_new_in_each_batch_and_their_labels_stand_in_the_context_alone():
    data = in_context(**SMALL, noise=0.0)
    batches = [items_of(data, drawn(data, kind="novel", seed=seed)) for seed in (0, 1)]
    for items in batches:
        assert torch.cdist(items.flatten(0, 1), data.class_vectors).min() > 0.01
    assert torch.cdist(batches[0].flatten(0, 1), batches[1].flatten(0, 1)).min() > 0.01
    assert len(batches[0].flatten(0, 1).unique(dim=0)) <= 32


def test_shares_of_bursty_and_novel_sequences_are_those_that_were_asked_for():
    data = in_context(**SMALL | {"classes": 400}, noise=0.0, bursty=0.75, novel=0.25, burstiness=2)
    episodes = drawn(data, batch=4000)
    known = torch.cdist(items_of(data, episodes)[:, -1], data.class_vectors).min(1).values < 1e-3
    assert 1 - known.float().mean() == pytest.approx(0.25, abs=0.03)
    assert (episodes.matching.sum(1) == 2)[known].float().mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("burstiness", [0, 1, 2])
def test_classes_come_by_their_probabilities_in_bursty_contexts_as_well(burstiness):
    data = in_context(**SMALL | {"pairs": 2}, zipf=1.2, noise=0.0, burstiness=burstiness)
    known = nearest(data.class_vectors, items_of(data, drawn(data, batch=20_000)))
    first = torch.bincount(known[:, -1], minlength=32) / 20_000
    if burstiness in (0, 2):  # one class in a context: the target is a draw by p itself
        torch.testing.assert_close(first, data.probabilities.float(), atol=0.012, rtol=0)
    else:  # without a label twice the probabilities are those of draws one after another
        torch.testing.assert_close(first, one_after_another(data.probabilities, 8, 2), atol=0.012, rtol=0)


def one_after_another(p, labels, number):
    """Compute for two draws how often each class is one of them, passing over classes of the first one's label."""
    p, label = p.double(), torch.arange(len(p)) % labels
    other = label[:, None] != label[None]
    second = (p[:, None] * p[None] * other / (p[None] * other).sum(1, keepdim=True)).sum(0)
    return ((p + second) / number).float()


def test_equal_probabilities_drawn_the_cheap_way_are_equal():
    data = in_context(**SMALL, noise=0.0)
    known = nearest(data.class_vectors, items_of(data, drawn(data, batch=8000)))
    shares = torch.bincount(known[:, :-1].flatten(), minlength=32) / 32_000
    assert (shares - 1 / 32).abs().max() < 0.006


def test_without_burstiness_items_are_drawn_one_by_one():
    data = in_context(**SMALL, burstiness=0)
    episodes = drawn(data, batch=4000)
    assert episodes.matching.float().mean() == pytest.approx(1 / 32, abs=0.005)


@pytest.mark.parametrize("kind", EPISODES)
def test_a_seed_decides_what_is_drawn(kind):
    data = in_context(**SMALL, bursty=0.5, novel=0.5)
    first, again, other = (drawn(data, kind=kind, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.tokens, again.tokens) and not torch.equal(first.tokens, other.tokens)
    restored = InContext.restore(data.describe())
    assert torch.equal(drawn(restored, kind=kind, seed=3).tokens, first.tokens)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 33}, "a multiple of them as classes"),
        ({"pairs": 6}, "1 to most_pairs=5 pairs"),
        ({"burstiness": 3}, "divides 4 pairs"),
        ({"bursty": 1.5}, "bursty to be a share"),
        ({"zipf": -1}, "zipf and noise of 0 or more"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        in_context(**SMALL | options)


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="one of train, novel, swapped, weights"):
        drawn(in_context(), kind="old")
