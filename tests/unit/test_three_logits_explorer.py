"""The explorer of three nested logits shows the training that was asked for, and bad values change nothing."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import traitlets

from nbtools import explorers
from nbtools.errors import InputError
from nbtools.training.three_logits import ThreeLogits, three_logits
from tests.unit.test_patching_explorer import until

QUICK = {"steps": 400}


@pytest.fixture
def explorer() -> explorers.ThreeLogitsExplorer:
    return explorers.three_logits(8, 32)


@pytest.fixture
def quick() -> explorers.ThreeLogitsExplorer:
    return explorers.three_logits(8, 32, **QUICK)


def sent(view, name: str, kind: type = np.float32) -> np.ndarray:
    return np.frombuffer(view._frame[name], kind)


def state(explorer) -> tuple:
    names = ("pairs", "labels", "burstiness", "beta", "alpha", "xi", "lr", "steps", "step", "plane", "scale")
    return tuple(getattr(explorer, name) for name in names)


def shows(explorer, **options) -> bool:
    """Whether the result, the curves and the path are those of a training."""
    run = three_logits(explorer.pairs, explorer.labels, **options)
    steps = sent(explorer.curves, "steps", np.int32)
    at = run.isel(step=steps)
    curves = sent(explorer.curves, "mean").reshape(7, -1)
    path = sent(explorer.landscape, "path").reshape(2, -1)
    assert explorer.result.identical(run)
    np.testing.assert_array_equal(curves[[0, 1, 4]], np.float32([at.probability, at.loss, at.xi]))
    np.testing.assert_array_equal(path, np.float32([at.xi, at.alpha]))
    return True


def test_the_first_training_is_on_show_at_its_jump(explorer):
    assert shows(explorer)
    assert repr(explorer) == "ThreeLogitsExplorer(pairs=8, labels=32, step=993)"
    assert (explorer.curves.step, explorer.landscape.step, explorer.error) == (993, 993, "")
    assert explorer.status.value == (
        "P passes 0.5 at step 993; plateau: still 0.056 at step 893 (a guess among the 8 classes of the context: 0.125)"
    )
    assert explorer.landscape.title == "loss with beta held at 3.17, as at step 993"
    assert explorer.curves._frame["names"] == ["P", "loss", "q1", "q2", "xi", "alpha", "beta"]
    assert len(sent(explorer.curves, "steps", np.int32)) <= 400


def test_each_setting_that_moves_is_a_training(quick):
    start = [0.0, 0.0, 0.0]
    for name, value in (("xi", 1.0), ("alpha", 0.5), ("beta", -0.25)):
        setattr(quick, name, value)
        start[("beta", "alpha", "xi").index(name)] = value
        assert shows(quick, start=tuple(start), **QUICK)
    quick.pairs, quick.labels, quick.lr, quick.steps = 6, 20, 0.1, 300
    quick.burstiness = 3
    assert shows(quick, burstiness=3, start=tuple(start), lr=0.1, steps=300)
    assert repr(quick) == "ThreeLogitsExplorer(pairs=6, labels=20, burstiness=3, step=300)"


def test_the_sliders_follow_the_traits_and_the_traits_the_sliders(quick):
    named = quick.controls.named
    named["pairs"].value = 4
    assert (quick.pairs, quick.result.attrs["pairs"]) == (4, 4)
    quick.xi, quick.lr, quick.labels, quick.steps = 7.77, 0.033, 1000, 1
    assert [named[name].value for name in ("xi", "lr", "labels", "steps")] == [7.77, 0.033, 1000, 1]
    quick.labels = 20
    assert (named["labels"].value, 1000 in dict(named["labels"].options).values()) == (20, False)
    named["plane"].value, named["scale"].value = "alpha, beta", "log"
    assert (quick.plane, quick.scale) == ("alpha, beta", "log")


def test_burstiness_is_one_that_divides_and_comes_back_when_it_can(quick):
    burstiness = quick.controls.named["burstiness"]
    assert [value for _, value in burstiness.options] == [1, 2, 4]
    burstiness.value = 4
    found = []
    for pairs in (9, 10, 11, 12, 8):
        quick.pairs = pairs
        found.append((quick.burstiness, [value for _, value in burstiness.options], quick.error))
    assert found == [(3, [1, 3], ""), (2, [1, 2, 5], ""), (1, [1], ""), (4, [1, 2, 3, 4, 6], ""), (4, [1, 2, 4], "")]
    assert quick.result.attrs["burstiness"] == 4
    quick.burstiness = 3
    assert (quick.burstiness, quick.error) == (4, "expected burstiness as one of 1, 2, 4 for 8 pairs, got 3")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pairs", 40, "expected as many labels as classes or more, got 40 classes and 32 labels"),
        ("pairs", 1, "expected 2 pairs or more, got 1"),
        ("labels", 7, "expected as many labels as classes or more, got 8 classes and 7 labels"),
        ("burstiness", 8, "expected burstiness as one of 1, 2, 4 for 8 pairs, got 8"),
        ("burstiness", 0, "expected burstiness as one of 1, 2, 4"),
        ("xi", float("nan"), "expected beta, alpha and xi as finite numbers, got 0.0, 0.0 and nan"),
        ("lr", 0.0, "expected lr above 0, got 0.0"),
        ("lr", float("inf"), "expected lr above 0, got inf"),
        ("steps", 0, "expected 1 to 100,000 steps, got 0"),
        ("steps", 10**6, "expected 1 to 100,000 steps, got 1,000,000"),
        ("plane", "xi", "expected plane as one of 'xi, alpha', 'alpha, beta', 'xi, beta', got 'xi'"),
        ("scale", "logarithmic", "expected scale as one of 'linear', 'log', got 'logarithmic'"),
    ],
)  # fmt: skip
def test_a_bad_value_is_explained_and_changes_nothing(quick, name, value, said):
    before, frames = state(quick), (quick.curves._frame, quick.landscape._frame)
    setattr(quick, name, value)
    assert (state(quick), quick.controls.named[name].value) == (before, getattr(quick, name))
    assert (quick.curves._frame, quick.landscape._frame) == frames
    assert quick.error.startswith(said)
    assert quick.status.value == f"⚠ {quick.error}"
    quick.xi = 0.5
    assert (quick.error, quick.status.value[0]) == ("", "P")


def test_more_pairs_than_labels_puts_the_slider_back(quick):
    quick.labels = 10
    quick.controls.named["pairs"].value = 12
    assert (quick.pairs, quick.controls.named["pairs"].value) == (8, 8)
    assert "12 classes and 10 labels" in quick.error
    with pytest.raises(traitlets.TraitError):
        quick.pairs = "many"
    assert quick.pairs == 8


def test_several_settings_can_change_at_once(quick):
    with quick.hold_trait_notifications():
        quick.pairs, quick.labels = 64, 128
    assert (quick.pairs, quick.labels, quick.error) == (64, 128, "")
    assert shows(quick, **QUICK)


def test_the_step_is_shared_and_decides_where_the_third_parameter_is_held(explorer):
    explorer.curves.step = 900
    step = explorer.step
    assert abs(step - 900) < 10
    assert explorer.landscape.step == step
    assert f"as at step {step}" in explorer.landscape.title
    explorer.landscape.step = 0
    assert (explorer.step, explorer.curves.step) == (0, 0)
    assert explorer.landscape.title == "loss with beta held at 0.000, as at step 0"


@pytest.mark.parametrize("plane", ["xi, alpha", "alpha, beta", "xi, beta"])
def test_the_landscape_is_the_loss_over_the_plane_with_the_third_as_it_is_at_the_step(explorer, plane):
    explorer.plane = plane
    frame, run = explorer.landscape._frame, explorer.result
    assert ", ".join(frame["names"]) == plane
    across, up = (np.linspace(*ends, 48) for ends in frame["ends"])
    at = {name: float(run[name].sel(step=993)) for name in ("beta", "alpha", "xi")}
    for row, column in ((0, 0), (10, 30), (47, 47)):
        at |= dict(zip(frame["names"], (across[column], up[row]), strict=True))
        loss = ThreeLogits(8, 32).loss([at["beta"], at["alpha"], at["xi"]])
        assert sent(explorer.landscape, "values").reshape(48, 48)[row, column] == pytest.approx(loss, rel=1e-5)
    for name, (low, high) in zip(frame["names"], frame["ends"], strict=True):
        assert low < run[name].min()
        assert high > run[name].max()


def test_curves_are_thinned_and_stay_true_where_they_bend(explorer):
    steps = sent(explorer.curves, "steps", np.int32)
    run = explorer.result
    for name in ("probability", "loss", "xi", "alpha", "beta"):
        values = run[name].values
        drawn = np.interp(run.step, steps, values[steps])
        assert np.abs(drawn - values).max() < 0.01 * np.ptp(values)
    assert {0, 993, 6000} <= set(steps.tolist())


def test_a_pinned_step_does_not_drift_while_a_slider_is_dragged(explorer):
    for xi in np.linspace(0, 1, 8):
        explorer.xi = float(xi)
        assert (explorer.step, explorer.curves.step, explorer.landscape.step) == (993, 993, 993)
    explorer.steps = 500
    assert (explorer.step, explorer.curves.step, explorer.landscape.step) == (500, 500, 500)


def test_the_log_axis_shows_the_same_steps(explorer):
    before = sent(explorer.curves, "steps", np.int32)
    explorer.scale = "log"
    np.testing.assert_array_equal(sent(explorer.curves, "steps", np.int32), before)
    assert [text for _, text in explorer.curves._frame["ticks"]][:3] == ["0", "1", "10"]
    assert explorer.step == 993


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pairs": 8, "labels": 8}, "the origin is critical: nothing moves"),
        ({"pairs": 16, "labels": 8, "burstiness": 2}, "the origin is critical: nothing moves"),
        ({"pairs": 8, "labels": 8, "start": (1, 0, 0)}, "the start is critical: nothing moves"),
        ({"start": (5, 9, 12), "steps": 10}, "P is above 0.5 from the start"),
        (
            {"steps": 500},
            "P does not pass 0.5 in 500 steps: it ends at 0.039 (a guess among the 8 classes of the context: 0.125)",
        ),
        ({"start": (4, 6, 1.5), "steps": 400, "lr": 1}, "P passes 0.5 at step 3"),
    ],
)
def test_what_a_training_comes_to_is_said(options, said):
    explorer = explorers.three_logits(**{"pairs": 8, "labels": 32} | options)
    assert explorer.status.value.startswith(said)
    assert explorer.figure() is not None


def test_nothing_that_was_trained_is_trained_again_for_a_plane_an_axis_or_a_step(quick):
    result = quick.result
    quick.plane, quick.scale, quick.step = "xi, beta", "log", 200
    assert quick.result is result


def test_a_request_from_another_thread_is_served_by_the_loop_and_only_the_newest(monkeypatch):
    served = []

    async def main():
        explorer = explorers.three_logits(8, 32, **QUICK)
        answer = explorer._answer
        monkeypatch.setattr(
            explorer, "_answer", lambda setting, *more: served.append(setting.xi) or answer(setting, *more)
        )

        def move():
            for xi in (0.25, 0.5, 0.75):
                explorer.controls.named["xi"].value = xi

        thread = threading.Thread(target=move)
        thread.start()
        thread.join()
        assert served == []
        await until(lambda: served)
        assert explorer.result.xi[0] == 0.75

    asyncio.run(main())
    assert served == [0.75]


def test_what_does_not_fit_at_first_is_an_error():
    for call, said in (
        (lambda: explorers.three_logits(8, 4), "as many labels as classes"),
        (lambda: explorers.three_logits(8, 32, burstiness=3), "burstiness as one of 1, 2, 4"),
        (
            lambda: explorers.three_logits(start=(0, 0)),
            r"three numbers to start from, beta, alpha and xi, got \(0, 0\)",
        ),
        (lambda: explorers.three_logits(lr=-1), "lr above 0"),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_every_output_depends_on_the_setting_alone_and_is_small(quick, tmp_path):
    one, other = (explorer._repr_mimebundle_() for explorer in (quick, explorers.three_logits(8, 32, **QUICK)))
    assert one["text/plain"] == "ThreeLogitsExplorer(pairs=8, labels=32, step=400)"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 60_000
    for suffix in (".png", ".svg", ".html"):
        assert quick.save(tmp_path / f"explorer{suffix}").stat().st_size > 1000
