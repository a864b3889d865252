"""Bigram-Backcopy as the paper defines it, and what can be known of it exactly."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbtools.errors import ArrayError, InputError
from nbtools.training import BOS, BigramBackcopy, bigram_backcopy

TEXT = bigram_backcopy()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> BigramBackcopy:
    """Begin with a or b; after a comes a, b or the trigger c; after b always c."""
    rows = [[0, 0.5, 0.5, 0], [0, 0.25, 0.25, 0.5], [0, 0, 0, 1], [0, 1, 0, 0]]
    return BigramBackcopy((BOS, "a", "b", "c"), torch.tensor(rows, dtype=torch.float64), (3,))


@given(
    chain=st.sampled_from(["text", "synthetic"]),
    triggers=st.integers(1, 8),
    chain_seed=st.integers(0, 3),
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    length=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_every_transition_obeys_the_definition(chain, triggers, chain_seed, seed, batch, length):
    data = bigram_backcopy(chain, triggers=triggers, seed=chain_seed)
    ids = data.sample(batch, length, seeded(seed))
    assert ids.shape == (batch, length) and (ids[:, 0] == 0).all() and (ids[:, 1:] > 0).all()
    for row in ids.tolist():
        for at in range(1, length):
            if at == 1:
                assert row[1] not in data.triggers
            elif row[at - 1] in data.triggers:
                assert row[at] == row[at - 2]
            else:
                assert data.transitions[row[at - 1], row[at]] > 0


@pytest.mark.parametrize("data", [TEXT, bigram_backcopy("synthetic"), small()], ids=["text", "synthetic", "small"])
def test_what_follows_what_converges_to_the_transitions(data):
    ids = data.sample(2000, 65, seeded(0))
    now, after = ids[:, :-1].flatten(), ids[:, 1:].flatten()
    size = len(data.labels)
    counts = torch.bincount(now * size + after, minlength=size**2).reshape(size, size).double()
    for token in range(size):
        if token in data.triggers:
            continue
        expected = counts[token].sum() * data.transitions[token]
        often = expected >= 10
        freedom = int(often.sum())
        distance = ((counts[token] - expected)[often].square() / expected[often]).sum().item()
        assert distance <= freedom + 5 * math.sqrt(2 * freedom), data.labels[token]


@pytest.mark.parametrize("data", [TEXT, small()], ids=["text", "small"])
def test_the_probability_of_each_token_at_each_position_is_exact(data):
    drawn, length = 4000, 12
    exact = data.visits(length)
    assert torch.allclose(exact.sum(1), torch.ones(length, dtype=exact.dtype))
    ids = data.sample(drawn, length, seeded(1))
    for at in range(length):
        found = torch.bincount(ids[:, at], minlength=len(data.labels)) / drawn
        deviation = (exact[at] * (1 - exact[at]) / drawn).sqrt()
        assert ((found - exact[at]).abs() <= 5 * deviation + 1e-3).all()


def test_positions_after_a_copied_trigger_alternate_as_the_pair_distribution_says():
    data = small()
    begin = torch.tensor([0, 0.5, 0.5, 0], dtype=torch.float64)
    third = torch.tensor([0, 0.125, 0.125, 0.75], dtype=torch.float64)  # bc, or a and what follows it
    fourth = 0.125 * data.transitions[1] + 0.125 * data.transitions[2]
    fourth = fourth + torch.tensor([0, 0.25, 0.5, 0], dtype=torch.float64)  # ac then a, bc then b
    assert torch.allclose(data.visits(4), torch.stack([torch.eye(4, dtype=torch.float64)[0], begin, third, fourth]))


def test_the_least_possible_loss_is_that_of_the_oracle():
    ids = TEXT.sample(64, 64, seeded(2))
    true = TEXT.oracle(ids)
    copies = TEXT.is_trigger(ids)
    assert torch.allclose(true.sum(-1), torch.ones(true.shape[:2], dtype=true.dtype))
    nats = torch.special.entr(true).sum(-1)
    assert (nats[copies] == 0).all()
    assert nats[~copies].mean().item() == pytest.approx(TEXT.risk(ids))
    where = copies.nonzero()
    assert (true[copies].argmax(-1) == ids[where[:, 0], where[:, 1] - 1]).all()


@pytest.mark.parametrize("data", [TEXT, bigram_backcopy("synthetic", seed=3)], ids=["text", "synthetic"])
def test_the_expected_risk_is_the_mean_over_sequences_without_drawing_any(data):
    ids = data.sample(4000, 64, seeded(3))
    assert data.risk(ids) == pytest.approx(data.expected_risk(64), abs=0.01)


def test_entropies_are_those_of_the_rows_and_nothing_after_triggers():
    assert small().entropy.tolist() == pytest.approx([math.log(2), 1.5 * math.log(2), 0, 0])


def test_text_has_the_triggers_of_english_and_no_runs_of_rulers():
    assert TEXT.labels[:4] == (BOS, " ", "e", "t") and len(set(TEXT.labels)) == 64
    assert TEXT.triggers == (1, 2, 3)
    assert TEXT.transitions[TEXT.labels.index("-"), TEXT.labels.index("-")] < 0.5
    assert TEXT.transitions[TEXT.labels.index("q"), TEXT.labels.index("u")] > 0.8


def test_triggers_are_the_most_frequent_tokens_and_sequences_do_not_begin_with_them():
    for data in (TEXT, bigram_backcopy("synthetic", triggers=5, seed=1)):
        chain = data.transitions[1:, 1:]
        often = torch.full((63,), 1 / 63, dtype=chain.dtype)
        for _ in range(2000):
            often = often @ chain
        assert set((often.argsort(descending=True)[: len(data.triggers)] + 1).tolist()) == set(data.triggers)
        begins = data.transitions[0, 1:]
        rest = often.clone()
        rest[: len(data.triggers)] = 0
        assert torch.allclose(begins, rest / rest.sum(), atol=1e-9)
        assert torch.allclose(data.transitions.sum(1), torch.ones(64, dtype=chain.dtype))


def test_a_seed_decides_chain_and_draw_and_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = bigram_backcopy("synthetic", seed=5)
    ids = first.sample(2, 30, seeded(0))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.transitions, bigram_backcopy("synthetic", seed=5).transitions)
    assert not torch.equal(first.transitions, bigram_backcopy("synthetic", seed=6).transitions)
    assert torch.equal(ids, first.sample(2, 30, seeded(0)))
    assert not torch.equal(ids, first.sample(2, 30, seeded(1)))


def test_a_description_gives_the_same_source():
    again = BigramBackcopy.restore(TEXT.describe(), TEXT.tensors())
    assert torch.equal(again.sample(3, 20, seeded(4)), TEXT.sample(3, 20, seeded(4)))
    assert repr(again) == repr(TEXT) == "BigramBackcopy(text, 64 tokens, triggers ' ', 'e', 't')"


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="chain='text' or 'synthetic', got 'words'"):
        bigram_backcopy("words")
    with pytest.raises(InputError, match="1 to 62 triggers, got 63"):
        bigram_backcopy(triggers=63)
    with pytest.raises(InputError, match="got batch=0 and length=4"):
        TEXT.sample(0, 4, seeded(0))
    with pytest.raises(ArrayError, match="begin with token 0, <bos>"):
        TEXT.oracle(torch.tensor([[5, 6]]))
    with pytest.raises(ArrayError, match=r"got shape \(2,\)"):
        TEXT.risk(torch.tensor([0, 6]))
