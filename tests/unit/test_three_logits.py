"""The model of three nested logits has the gradient of its loss, and the plateau and jump that were found by others."""

from __future__ import annotations

import numpy as np
import pytest

from nbtools.errors import InputError
from nbtools.training.three_logits import ThreeLogits, three_logits

POINTS = [(0.3, -0.2, 1.0), (0.0, 0.0, 0.0), (2.0, 3.0, -1.0), (5.0, 9.0, 12.0)]


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("sizes", [(8, 32), (8, 8), (2, 5), (8, 32, 2), (8, 4, 2)])
def test_the_gradient_is_that_of_the_loss(at, sizes):
    model, at = ThreeLogits(*sizes), np.array(at)
    away = 1e-6 * np.eye(3)
    numeric = [(model.loss(at + step) - model.loss(at - step)) / 2e-6 for step in away]
    np.testing.assert_allclose(model.gradient(at), numeric, atol=1e-8)


@pytest.mark.parametrize("sizes", [(8, 32, 1), (8, 8, 1), (8, 32, 2)])
def test_a_training_follows_the_gradient_step_by_step(sizes):
    run = three_logits(*sizes[:2], burstiness=sizes[2], start=(0.3, -0.2, 1.0), lr=0.5, steps=300)
    path = np.stack([run[name].values for name in ("beta", "alpha", "xi")], -1)
    np.testing.assert_allclose(np.diff(path, axis=0), -0.5 * ThreeLogits(*sizes).gradient(path[:-1]), atol=1e-12)


def test_arrays_of_points_give_arrays():
    model, at = ThreeLogits(4, 16), np.random.default_rng(0).normal(size=(5, 2, 3))
    assert model.gradient(at).shape == (5, 2, 3) and model.loss(at).shape == (5, 2)
    np.testing.assert_allclose(model.gradient(at)[3, 1], model.gradient(at[3, 1]))
    np.testing.assert_allclose(model.loss(at)[3, 1], model.loss(at[3, 1]))


def test_probabilities_add_up():
    model, at = ThreeLogits(8, 32), np.array([1.0, 2.0, 3.0])
    second, xi = model.attention(at)[1], 3.0
    right, other = np.exp(xi * second), np.exp(xi * (1 - second) / 7)
    assert model.probability(at) == pytest.approx(right / (right + 7 * other + 24))


@pytest.mark.parametrize(("pairs", "half", "sure"), [(4, 403, 2311), (8, 993, 2824), (16, 3119, 4875)])
def test_the_jump_comes_at_the_steps_at_which_others_found_it(pairs, half, sure):
    run = three_logits(pairs, 32)
    for least, step in ((0.5, half), (0.99, sure)):
        assert run.step[(run.probability.values > least).argmax()] == step
    assert run.probability[: half // 2].max() < 1.6 / pairs


def test_several_copies_of_a_class_shorten_the_way():
    steps = [int((three_logits(8, 32, burstiness=times).probability.values > 0.5).argmax()) for times in (1, 2, 4)]
    assert steps[0] > steps[1] > steps[2] > 0
    assert ThreeLogits(8, 32, 2).probability([0, 0, 60]) == pytest.approx(1 / 4, abs=0.01)


def test_with_all_labels_in_the_context_the_origin_is_critical():
    assert not ThreeLogits(8, 8).gradient([0, 0, 0]).any()
    run = three_logits(8, 8, steps=20_000)
    assert (run.probability == run.probability[0]).all() and run.probability[0] == pytest.approx(1 / 8)
    assert three_logits(8, 8, start=(0.01, 0.01, 0.01), steps=20_000).probability[-1] > 0.9


def test_parameters_move_one_after_another_from_the_outside_in():
    run = three_logits(8, 32)
    moved = [int((abs(run[name].values) > 0.1).argmax()) for name in ("xi", "alpha", "beta")]
    assert moved[0] < moved[1] < moved[2]


def test_only_some_steps_can_be_kept():
    every = three_logits(steps=100)
    some = three_logits(steps=100, every=10)
    assert some.step.values.tolist() == list(range(0, 101, 10))
    np.testing.assert_array_equal(some.loss, every.loss.sel(step=some.step))


def test_numbers_that_run_far_off_stay_numbers():
    run = three_logits(2, 3, start=(-900.0, 800.0, 900.0), lr=50, steps=50)
    assert all(np.isfinite(run[name]).all() for name in run)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ThreeLogits(8, 4), "at least as many labels"),
        (lambda: ThreeLogits(1, 4), "2 classes or more"),
        (lambda: ThreeLogits(8, 32, 3), "burstiness=3"),
        (lambda: three_logits(start=(0, 0)), "three numbers"),
        (lambda: three_logits(start=(0, 0, np.nan)), "three numbers"),
        (lambda: three_logits(lr=0), "above 0"),
        (lambda: three_logits(every=0), "above 0"),
        (lambda: ThreeLogits(2, 4).loss([1.0, 2.0]), r"parameters \[..., 3\]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
