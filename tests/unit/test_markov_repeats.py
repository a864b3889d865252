"""Sequences follow their chain and repeat as they should, and induction is measured as its formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbtools.errors import InputError
from nbtools.training import (
    INDUCTION_MEASURES,
    InductionProgress,
    TinyConfig,
    TinyTransformer,
    Training,
    Trajectory,
    markov_repeats,
    train,
)

CONFIG = TinyConfig(layers=2, heads=4, d_model=32, d_head=8, d_mlp=0, length=32, positions="attention")


def drawn(data, batch=500, length=33, seed=0):
    return data.sample(batch, length, torch.Generator().manual_seed(seed))


def period_of(row):
    """Give the least period from T / 4 to T / 2 at which the tokens after the first begin again, or None."""
    tokens, length = row[1:], len(row)
    fits = [p for p in range(length // 4, length // 2 + 1) if (tokens[p:] == tokens[:-p]).all()]
    return fits[0] if fits else None


def test_the_asked_share_of_sequences_repeats_with_periods_from_a_quarter_to_a_half():
    periods = [period_of(row) for row in drawn(markov_repeats(spread=0.5, repeats=0.75))]
    assert sum(period is not None for period in periods) / 500 == pytest.approx(0.75, abs=0.06)
    assert set(filter(None, periods)) == set(range(8, 17))


def test_tokens_follow_the_chain():
    data = markov_repeats(tokens=5, spread=1.0, repeats=0.0)
    ids = drawn(data, batch=4000) - 1
    assert (ids[:, 0] == -1).all() and ids[:, 1:].min() == 0 and ids.max() == 4
    pairs = torch.bincount((ids[:, 1:-1] * 5 + ids[:, 2:]).flatten(), minlength=25).reshape(5, 5).double()
    torch.testing.assert_close(pairs / pairs.sum(1, keepdim=True), data.transitions, atol=0.02, rtol=0)


def test_the_entropy_is_that_of_the_chain_in_the_long_run():
    data = markov_repeats(tokens=5, spread=1.0, repeats=0.0)
    ids = drawn(data, batch=4000, length=64) - 1
    seen = -data.transitions[ids[:, 20:-1], ids[:, 21:]].log().mean()
    assert data.entropy == pytest.approx(seen.item(), abs=0.01)
    assert markov_repeats(spread=0.0).entropy == pytest.approx(np.log(63))


def test_what_repeats_is_marked_from_the_place_from_which_it_is_known():
    data = markov_repeats(spread=0.5, repeats=0.5)
    ids = drawn(data)
    known = data.domains(ids[:, :-1])
    assert torch.equal(known["repeated"], ~known["novel"])
    for row, marks in zip(ids, known["repeated"], strict=True):
        period = period_of(row)
        if period is None:
            assert not marks.any()
        else:
            assert marks.nonzero()[0].item() == period and marks[period:].all()


def test_positions_in_attention_leave_the_stream_and_the_values_without_them():
    model, ids = TinyTransformer(CONFIG), torch.tensor([[0, 7, 7, 7, 9]])
    _, cache = model.run_with_cache(ids)
    for hook in ("blocks.0.hook_resid_pre", "blocks.0.attn.hook_v"):
        assert torch.equal(cache[hook][0, 1], cache[hook][0, 2])
    for hook in ("blocks.0.attn.hook_q", "blocks.0.attn.hook_k"):
        assert not torch.allclose(cache[hook][0, 1], cache[hook][0, 2])


def test_measures_of_induction_are_what_their_formulas_say():
    data = markov_repeats()
    progress, model = InductionProgress(data, 32, sequences=6), TinyTransformer(CONFIG)
    found, once = progress(model), progress.once
    assert set(found) == set(INDUCTION_MEASURES) and once == 15
    ids = progress.ids
    assert (ids[:, 1 : once + 1] == ids[:, once + 1 :]).all() and (ids[:, 0] == 0).all()
    logits, cache = model.run_with_cache(ids)
    pattern = cache["blocks.1.attn.hook_pattern"]
    again = [pattern[:, :, query, query - once + 1] for query in range(once + 1, 31)]
    assert found["induction"][1] == pytest.approx(torch.stack(again).mean((0, 1)).max().item(), abs=1e-6)
    before = [pattern[:, :, query, query - 1] for query in range(2, 31)]
    assert found["previous_token"][1] == pytest.approx(torch.stack(before).mean((0, 1)).max().item(), abs=1e-6)
    assert found["sink_repeated"][1] == pytest.approx(pattern[:, :, once + 1 :, 0].mean().item(), abs=1e-6)
    nats = -logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    assert found["repeated_loss"] == pytest.approx(nats[:, once + 1 :].mean().item(), abs=1e-5)
    assert found["in_context_score"] == pytest.approx(
        (nats[:, once + 1 :].mean() - nats[:, 1:once].mean()).item(), abs=1e-5
    )


def test_training_tells_what_repeats_from_what_is_new_and_can_be_kept(tmp_path):
    data = markov_repeats()
    progress = InductionProgress(data, 32, sequences=8)
    run = train(CONFIG, data, steps=20, batch=8, measure_every=10, keep=[20], measure=progress)
    assert run.measures.induction.dims == ("step", "layer")
    assert run.measures.loss_repeated[1:].notnull().all() and run.measures.loss_novel[1:].notnull().all()
    run.save(tmp_path / "run.safetensors")
    again = Trajectory.load(tmp_path / "run.safetensors")
    assert repr(again) == repr(run) and again.measures.identical(run.measures)
    assert torch.equal(again.model()(progress.ids), run.model()(progress.ids))
    assert isinstance(Training(CONFIG, data)._measure, InductionProgress)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: markov_repeats(tokens=1), "two tokens or more"),
        (lambda: markov_repeats(repeats=2), "a share of repeats"),
        (lambda: markov_repeats().sample(0, 5, torch.Generator()), "at least one sequence"),
        (lambda: InductionProgress(markov_repeats(), 3), "a length from 5"),
        (lambda: TinyConfig(positions="nowhere"), "'stream' or 'attention'"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
