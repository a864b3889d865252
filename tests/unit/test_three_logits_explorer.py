"""The explorer of three nested logits shows the training that was asked for, and bad values change nothing."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import traitlets

from nbtools import explorers
from nbtools.errors import InputError
from nbtools.explorers._three_runs import Course, Setting
from nbtools.training.three_logits import ThreeLogits, three_logits
from nbtools.views import link, scrubber
from tests.unit.test_patching_explorer import until

QUICK = {"steps": 400}
CHOSEN = ("pairs", "labels", "burstiness", "beta", "alpha", "xi", "lr", "steps", "step", "plane", "scale")


@pytest.fixture
def explorer() -> explorers.ThreeLogitsExplorer:
    return explorers.three_logits(8, 32)


@pytest.fixture
def quick() -> explorers.ThreeLogitsExplorer:
    return explorers.three_logits(8, 32, **QUICK)


def state(explorer) -> tuple:
    return tuple(getattr(explorer, name) for name in CHOSEN)


def shows(explorer, **options) -> bool:
    """Whether the result is that of a training; what the page draws of it is held by test_three_logits_page.py."""
    return explorer.result.identical(three_logits(explorer.pairs, explorer.labels, **options))


def from_page(explorer, **values) -> None:
    """Let a message of the page arrive."""
    explorer.set_state(values)


def sent(monkeypatch, explorer) -> list[dict]:
    """What the page is told from now on."""
    told = []

    def send(message: dict, buffers: object = None) -> None:
        if message["method"] == "update":
            told.append(message["state"])

    monkeypatch.setattr(explorer, "_send", send)
    return told


def test_the_first_training_is_on_show_at_its_jump(explorer):
    assert shows(explorer)
    assert repr(explorer) == "ThreeLogitsExplorer(pairs=8, labels=32, step=993)"
    assert (explorer.step, explorer.error) == (993, "")
    assert explorer.status == (
        "P passes 0.5 at step 993; plateau: still 0.056 at step 893 (a guess among the 8 classes of the context: 0.125)"
    )
    assert explorer.model == ThreeLogits(8, 32)


def test_the_page_gets_what_was_chosen_and_no_training(explorer):
    given = explorer._state(complete=True)
    assert set(given) == {*CHOSEN, "error", "title", "_frame"}
    assert {name: given[name] for name in CHOSEN} == {name: getattr(explorer, name) for name in CHOSEN}
    assert set(explorer._frame["notes"]) == set(explorer.result)
    assert len(explorer._frame["lut"]) == 3 * 256
    assert explorer._weight() < 1000


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


def test_the_page_follows_the_traits_and_the_traits_the_page(quick, monkeypatch):
    told = sent(monkeypatch, quick)
    from_page(quick, pairs=4, burstiness=1, step=200, error="")
    assert (quick.pairs, quick.step, quick.result.attrs["pairs"], told) == (4, 200, 4, [])
    quick.xi, quick.lr, quick.labels, quick.steps = 7.77, 0.033, 1000, 150
    assert told == [{"xi": 7.77}, {"lr": 0.033}, {"labels": 1000}, {"steps": 150}, {"step": 150}]
    from_page(quick, plane="alpha, beta")
    from_page(quick, scale="log")
    assert (quick.plane, quick.scale) == ("alpha, beta", "log")


def test_burstiness_is_one_that_divides_and_comes_back_when_it_can(quick):
    quick.burstiness = 4
    found = []
    for pairs in (9, 10, 11, 12, 8):
        quick.pairs = pairs
        found.append((quick.burstiness, quick.error))
    assert found == [(3, ""), (2, ""), (1, ""), (4, ""), (4, "")]
    assert quick.result.attrs["burstiness"] == 4
    quick.burstiness = 3
    assert (quick.burstiness, quick.error) == (4, "expected burstiness as one of 1, 2, 4 for 8 pairs, got 3")
    quick.pairs = 9
    quick.burstiness = 1
    quick.pairs = 8
    assert (quick.burstiness, quick.error) == (1, "")


def test_a_page_that_divides_by_itself_keeps_the_burstiness_that_was_asked_for(quick):
    from_page(quick, burstiness=4)
    from_page(quick, pairs=9, burstiness=3)
    from_page(quick, pairs=11, burstiness=1)
    assert (quick.pairs, quick.burstiness, quick.error) == (11, 1, "")
    quick.pairs = 12
    assert (quick.burstiness, quick.result.attrs["burstiness"]) == (4, 4)


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
    before, result = state(quick), quick.result
    setattr(quick, name, value)
    assert (state(quick), quick.result is result) == (before, True)
    assert quick.error.startswith(said)
    assert quick.status == f"⚠ {quick.error}"
    quick.xi = 0.5
    assert (quick.error, quick.status[0]) == ("", "P")


def test_a_page_that_sends_what_does_not_fit_is_put_right(quick, monkeypatch):
    quick.labels = 10
    told = sent(monkeypatch, quick)
    from_page(quick, pairs=12)
    assert (quick.pairs, {"pairs": 8} in told) == (8, True)
    assert "12 classes and 10 labels" in quick.error
    with pytest.raises(traitlets.TraitError):
        quick.pairs = "many"
    assert quick.pairs == 8


def test_several_settings_can_change_at_once(quick):
    with quick.hold_trait_notifications():
        quick.pairs, quick.labels = 64, 128
    assert (quick.pairs, quick.labels, quick.error) == (64, 128, "")
    assert shows(quick, **QUICK)


def test_a_step_is_one_of_the_training_and_another_is_the_nearest(quick):
    for asked, taken in ((200, 200), (1000, 400), (-1, 0)):
        quick.step = asked
        assert (quick.step, quick.error) == (taken, "")
    other = scrubber(three_logits(8, 32, **QUICK).isel(step=slice(None, None, 5)))
    link(quick, other)
    quick.step = 101
    assert other.step == 100
    other.step = 35
    assert quick.step == 35


def test_a_pinned_step_does_not_drift_while_a_slider_is_dragged(explorer):
    for xi in np.linspace(0, 1, 8):
        explorer.xi = float(xi)
        assert explorer.step == 993
    explorer.steps = 500
    assert explorer.step == 500


@pytest.mark.parametrize("plane", ["xi, alpha", "alpha, beta", "xi, beta"])
def test_the_landscape_is_the_loss_over_the_plane_with_the_third_as_it_is_at_the_step(plane):
    course = Course(Setting(8, 32, 1, 0.0, 0.0, 0.0, 0.05, 2000))
    surface, run = course.surface(plane, 993), course.result
    assert ", ".join(reversed(surface.dims)) == plane
    at = {name: float(run[name].sel(step=993)) for name in ("beta", "alpha", "xi")}
    for row, column in ((0, 0), (10, 30), (47, 47)):
        at |= {name: float(surface[name][place]) for name, place in zip(surface.dims, (row, column), strict=True)}
        assert float(surface[row, column]) == ThreeLogits(8, 32).loss([at["beta"], at["alpha"], at["xi"]])
    for name in surface.dims:
        assert surface[name].min() < run[name].min() and surface[name].max() > run[name].max()


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
    assert explorer.status.startswith(said)
    assert explorer.figure() is not None


def test_nothing_that_was_trained_is_trained_again_for_a_plane_an_axis_or_a_step(quick):
    result = quick.result
    quick.plane, quick.scale, quick.step = "xi, beta", "log", 200
    assert quick.result is result


def test_a_request_from_another_thread_is_served_by_the_loop_and_only_the_newest():
    served = []

    async def main():
        explorer = explorers.three_logits(8, 32, **QUICK)
        explorer.observe(lambda change: served.append(float(change["new"].xi[0])), "result")

        def move():
            for xi in (0.25, 0.5, 0.75):
                from_page(explorer, xi=xi)

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
    one, other = (explorer._repr_mimebundle_()[0] for explorer in (quick, explorers.three_logits(8, 32, **QUICK)))
    assert one["text/plain"] == "ThreeLogitsExplorer(pairs=8, labels=32, step=400)"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 60_000
    for suffix in (".png", ".svg", ".html"):
        assert quick.save(tmp_path / f"explorer{suffix}").stat().st_size > 1000
    assert (tmp_path / "explorer.html").stat().st_size < 60_000
