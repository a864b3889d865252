"""Networks learn in-context classification, alone or side by side, and what happened can be kept and read again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbtools.errors import InputError
from nbtools.training import (
    IN_CONTEXT_MEASURES,
    ClassifierConfig,
    InContextProgress,
    TinyConfig,
    Training,
    Trajectory,
    bigram_backcopy,
    in_context,
    train,
)

DATA = in_context(classes=16, labels=4, pairs=2, dimensions=6, most_pairs=3, burstiness=1)
CONFIG = ClassifierConfig(places=7, dimensions=6, labels=4, d_mlp=8)
PROGRESS = InContextProgress(DATA, sequences=32)
OPTIONS = {"steps": 30, "batch": 16, "measure_every": 10, "keep": [10, 30], "measure": PROGRESS}


def test_networks_side_by_side_learn_as_each_does_alone():
    together = train(CONFIG, DATA, seed=[3, 5], **OPTIONS)
    for seed in (3, 5):
        alone = train(CONFIG, DATA, seed=seed, **OPTIONS)
        for name in IN_CONTEXT_MEASURES:
            np.testing.assert_allclose(together.measures[name].sel(seed=seed), alone.measures[name], atol=1e-6)
        learned = alone.model().state_dict()
        for name, weight in together.model(seed=seed).state_dict().items():
            torch.testing.assert_close(weight, learned[name], atol=1e-6, rtol=0)


def test_two_parameters_are_trained_as_well():
    run = train(ClassifierConfig(places=7, dimensions=6, labels=4, d_mlp=8, layers=0), DATA, **OPTIONS | {"steps": 60})
    assert run.model(60).beta != 0 and run.model(60).alpha != 0 and run.measures.loss_train[-1] < 1.5


@pytest.mark.parametrize("seed", [2, [2, 4]])
def test_what_is_left_and_gone_on_with_comes_to_the_same(seed):
    whole = Training(CONFIG, DATA, seed=seed, **OPTIONS)
    list(whole)
    first, second = (Training(CONFIG, DATA, seed=seed, **OPTIONS) for _ in range(2))
    next(first), next(first)
    second.load_state_dict(first.state_dict())
    list(second)
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, second.model.state_dict()[name])
    assert whole.trajectory().measures.identical(second.trajectory().measures)


@pytest.mark.parametrize("seed", [2, [2, 4]])
def test_a_trajectory_is_read_again_as_it_was_written(tmp_path, seed):
    run = train(CONFIG, DATA, seed=seed, **OPTIONS)
    run.save(tmp_path / "run.safetensors")
    again = Trajectory.load(tmp_path / "run.safetensors")
    assert repr(again) == repr(run) and again.measures.identical(run.measures) and again.kept == (10, 30)
    tokens = PROGRESS.episodes["novel"].tokens
    for step in (10, 30):
        assert torch.equal(again.model(step)(tokens), run.model(step)(tokens))


def test_measures_are_over_seeds_where_there_are_several():
    run = train(CONFIG, DATA, seed=[2, 4], **OPTIONS)
    assert run.measures.in_context.dims == ("step", "seed") and run.measures.seed.values.tolist() == [2, 4]
    assert run.measures.loss_train.dims == ("step", "seed") and run.measures.loss_train[1:].notnull().all()
    assert "seeds 2, 4" in repr(run) and "in_context 16 classes" in repr(run)
    assert train(CONFIG, DATA, **OPTIONS).measures.in_context.dims == ("step",)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Training(ClassifierConfig(), DATA), "set places=7, dimensions=6, labels=4"),
        (lambda: Training(TinyConfig(), DATA), "a ClassifierConfig for in-context"),
        (lambda: Training(ClassifierConfig(), bigram_backcopy()), "a TinyConfig and one seed"),
        (lambda: Training(TinyConfig(), bigram_backcopy(), seed=[0, 1]), "a TinyConfig and one seed"),
        (lambda: Training(CONFIG, DATA, seed=[]), "one seed or more"),
        (lambda: train(CONFIG, DATA, seed=[2], **OPTIONS).model(seed=3), "no network of seed 3"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
