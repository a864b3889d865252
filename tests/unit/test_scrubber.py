"""Scrubbers: what is sent stands for what was given, the step is one that is known, and bad input is explained."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.views.base import source
from nbtools.views.log_axis import log_ends, log_numbers
from nbtools.views.scrubber.history import nearest
from tests.unit.test_views import HOSTILE

STEPS = [0, 10, 20, 50, 100, 200, 400, 1000]
KEPT = [0, 90, 1000]
TOKENS = ["<bos>", "the", " cat", "\n"]


def curves_of(steps: list[int] = STEPS, seeds: int = 0, **attrs: object) -> xr.Dataset:
    """The loss falls from 4 to 0; the sink rises from 0 to 1, in each seed a little more."""
    share = np.linspace(0, 1, len(steps))
    coords = {"step": steps}
    tables = {"loss": 4 - 4 * share, "sink": share}
    if seeds:
        tables = {name: np.stack([values + seed / 10 for seed in range(seeds)]) for name, values in tables.items()}
        coords |= {"seed": range(seeds)}
    dims = ("seed", "step") if seeds else ("step",)
    about = {"loss": {"units": "nats"}, "sink": {"long_name": "attention to <bos>", **attrs}}
    return xr.Dataset({name: (dims, values, about[name]) for name, values in tables.items()}, coords=coords)


def maps_of(tokens: list[str] = TOKENS, steps: list[int] = KEPT) -> xr.DataArray:
    size = len(tokens)
    values = np.stack([np.eye(size) / (1 + place / 10) for place in range(len(steps))])
    coords = {"step": steps, "query_token": ("query", tokens), "key_token": ("key", tokens)}
    return xr.DataArray(values, coords, ("step", "query", "key"), name="attention")


def bars_of(tokens: list[str] = TOKENS, steps: list[int] = KEPT) -> xr.DataArray:
    values = 10.0 ** (np.arange(len(tokens)) - np.arange(len(steps))[:, None])
    coords = {"step": steps, "token": ("position", tokens)}
    return xr.DataArray(values, coords, ("step", "position"), name="value_norm")


@pytest.fixture
def view() -> views.Scrubber:
    return views.scrubber(curves_of(), maps=maps_of(), bars=bars_of())


def sent(view: views.Scrubber, name: str, kind: type = np.float32) -> np.ndarray:
    return np.frombuffer(view._frame[name], kind)


def test_what_is_sent_stands_for_what_was_given(view):
    frame, given = view._frame, curves_of()
    np.testing.assert_array_equal(sent(view, "steps", np.int32), STEPS)
    for name in ("mean", "low", "high"):
        np.testing.assert_array_equal(sent(view, name).reshape(2, -1), np.float32([given.loss, given.sink]))
    assert (frame["names"], frame["notes"], frame["band"]) == (["loss", "sink"], ["nats", "attention to <bos>"], "")
    np.testing.assert_array_equal(sent(view, "map_steps", np.int32), KEPT)
    np.testing.assert_allclose(sent(view, "levels", np.uint8).reshape(3, 4, 4) / 255, maps_of(), atol=1 / 510)
    np.testing.assert_array_equal(sent(view, "bars").reshape(3, 4), bars_of().astype("float32"))
    assert (frame["queries"], frame["keys"], frame["tokens"]) == (TOKENS, TOKENS, TOKENS)
    assert (frame["label"], frame["bar_label"]) == ("attention", "value norm")
    assert (frame["vmin"], frame["vmax"]) == (0, 1)


def test_several_seeds_are_a_mean_and_a_range_undefined_values_left_out():
    given = curves_of(seeds=3)
    given["sink"][0, 0] = np.nan
    given["loss"][:, 1] = np.nan
    view = views.scrubber(given)
    low, mean, high = (sent(view, name).reshape(2, -1) for name in ("low", "mean", "high"))
    np.testing.assert_allclose(high[1] - low[1], [0.1] + [0.2] * 7, atol=1e-6)
    np.testing.assert_allclose(mean[1, :2], [0.15, 1 / 7 + 0.1], atol=1e-6)
    assert np.isnan([low[0, 1], mean[0, 1], high[0, 1]]).all()
    assert view._frame["band"] == "mean and range of 2 to 3 seeds"
    assert views.scrubber(curves_of(seeds=3))._frame["band"] == "mean and range of 3 seeds"
    assert views.scrubber(curves_of(seeds=1))._frame["band"] == ""


def test_each_layer_has_its_panel_and_a_single_one_its_name_alone():
    layered = curves_of().sink.expand_dims(layer=[0, 2]).transpose("step", "layer")
    assert views.scrubber(layered)._frame["names"] == ["layer 0: sink", "layer 2: sink"]
    assert views.scrubber(layered.isel(layer=[1]))._frame["names"] == ["sink"]
    assert views.scrubber(layered.drop_vars("layer"))._frame["names"] == ["layer 0: sink", "layer 1: sink"]


def test_variables_are_chosen_and_renamed():
    given = curves_of().assign(about=3.0)
    assert views.scrubber(given)._frame["names"] == ["loss", "sink"]
    assert views.scrubber(given, names=["sink"])._frame["names"] == ["sink"]
    assert views.scrubber(given, names="sink")._frame["names"] == ["sink"]
    assert views.scrubber(given, names={"sink": "to <bos>", "loss": "nats"})._frame["names"] == ["to <bos>", "nats"]
    assert views.scrubber(given.loss.rename(None))._frame["names"] == ["value"]
    assert views.scrubber(given.loss.rename("a_b"))._frame["names"] == ["a b"]


def test_steps_may_come_in_any_order(view):
    mixed = {name: array.isel(step=slice(None, None, -1)) for name, array in (("maps", maps_of()), ("bars", bars_of()))}
    turned = views.scrubber(curves_of().isel(step=[3, 0, 7, 1, 2, 6, 5, 4]), **mixed)
    assert turned._frame == view._frame
    swapped = views.scrubber(curves_of(), maps=maps_of().transpose("key", "step", "query"), bars=bars_of().T)
    assert swapped._frame == view._frame


def test_steps_lie_on_a_linear_or_a_logarithmic_axis(view):
    np.testing.assert_allclose(sent(view, "places"), np.array(STEPS) / 1000, rtol=1e-6)
    assert view._frame["ticks"] == [(0.0, "0"), (0.5, "500"), (1.0, "1,000")]
    log = views.scrubber(curves_of(), scale="log")
    places = sent(log, "places")
    assert (places[0], places[-1]) == (0, 1)
    assert 0.07 < places[1] < 0.09
    np.testing.assert_allclose(places[4] - places[1], places[7] - places[4], rtol=1e-5)  # 10 to 100, 100 to 1000
    assert [text for _, text in log._frame["ticks"]] == ["0", "10", "100", "1,000"]
    assert list(sent(views.scrubber(curves_of([0, 5]), scale="log"), "places")) == [0, 1]
    assert list(sent(views.scrubber(curves_of([10, 1000]), scale="log"), "places")) == [0, 1]


def test_an_axis_ends_where_it_is_asked_to_or_where_the_data_do():
    ends = [(plot["vmin"], plot["vmax"]) for plot in views.scrubber(curves_of(vmax=2, vmin=-1))._frame["plots"]]
    assert ends == [(0, 4), (-1, 2)]
    near = curves_of().loss + 100
    assert views.scrubber(near)._frame["plots"][0]["vmin"] == 100
    assert views.scrubber(near - 99)._frame["plots"][0]["vmin"] == 0  # 1 to 5: 0 is not far
    flat = views.scrubber(curves_of().loss * 0 + 3)._frame["plots"][0]
    assert (flat["vmin"], flat["vmax"]) == (2.5, 3.5)
    assert views.scrubber(-curves_of().loss)._frame["plots"][0]["ticks"] == [(-4.0, "−4"), (-2.0, "−2"), (0.0, "0")]


def test_a_logarithmic_axis_has_round_ends_and_numbers():
    assert log_ends(np.array([0.0, np.nan, 3, 22969])) == (2, 50000)
    assert log_ends(np.array([5.0, 5.0])) == (5, 50)
    assert log_ends(np.zeros(3)) == (1, 10)
    assert log_numbers(2, 50000, 6) == [10, 100, 1000, 10000]
    assert log_numbers(1e-6, 1e12, 5) == [1e-4, 1, 1e4, 1e8, 1e12]
    for low, high in ((1e-3, 2e-3), (2, 5), (0.5, 1e7)):
        found = log_numbers(low, high, 6)
        assert found
        assert all(low <= number <= high for number in found)


def test_the_step_can_be_set_and_is_always_one_that_is_known(view):
    assert repr(view) == "Scrubber(curves=['loss', 'sink'], steps=8, step=1000)"
    for step, kept in ((90, 100), (35, 20), (-5, 0), (10**9, 1000), (400, 400)):
        view.step = step
        assert view.step == kept
    assert views.scrubber(curves_of(), step=np.int64(49)).step == 50
    assert nearest(np.array([0, 10, 20]), 15) == 1  # the earlier of two


def test_another_training_is_shown_at_the_nearest_step(view):
    view.step = 200
    view.show(curves_of([0, 190, 500]))
    assert (view.step, view._frame["levels"], view._frame["bar_axis"]) == (190, b"", None)
    assert repr(view) == "Scrubber(curves=['loss', 'sink'], steps=3, step=190)"


def test_bad_input_leaves_the_view_as_it_was(view):
    before, step = dict(view._frame), view.step
    for call in (
        lambda: view.show(curves_of([3])),
        lambda: view.show(curves_of(), maps=maps_of() * 2),
        lambda: view.show(curves_of(), scale="lin"),
        lambda: view.rescale(2, 1),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(traitlets.TraitError):
        view.step = "last"
    assert (view._frame, view.step) == (before, step)


def test_linked_views_share_the_step_each_at_the_nearest_that_it_knows(view):
    other = views.scrubber(curves_of([0, 300, 900]))
    views.link(view, other)
    assert other.step == 900
    other.step = 290
    assert (other.step, view.step) == (300, 200)


def test_what_was_kept_is_that_of_the_nearest_step(view):
    history = view._history
    assert [history.maps.at(step)[0] for step in (0, 45, 46, 500, 1000)] == [0, 0, 90, 90, 1000]
    np.testing.assert_allclose(history.bars.at(80)[1], [0.1, 1, 10, 100], rtol=1e-6)


def test_sixty_steps_of_a_trajectory_take_little_room():
    steps = list(range(0, 6000, 100))
    tokens = [f"w{n}" for n in range(24)]
    given = curves_of(steps).sink
    dataset = xr.Dataset({f"curve {n}": given for n in range(8)})
    view = views.scrubber(dataset, maps=maps_of(tokens, steps), bars=bars_of(tokens, steps))
    assert view._weight() < 60_000
    assert len(source("scrubber").encode()) < 30_000


WHOLE = "different whole numbers, 0 or more"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: views.scrubber([1, 2]), "a Dataset or DataArray with the dimension step, got list"),
        (lambda: views.scrubber(xr.Dataset({"a": 1.0})), "expected curves over step, got a without"),
        (lambda: views.scrubber(xr.DataArray([1.0, 2], dims="time")), "expected curves over step, got value"),
        (
            lambda: views.scrubber(curves_of().sink.expand_dims(head=2)),
            r"sink over step, .* got \(head, step\): choose with .sel\(head=…\), or summarise with .mean\('head'\)",
        ),
        (lambda: views.scrubber(curves_of().drop_vars("step")), r"with the coordinate step, .*assign_coords\(step="),
        (lambda: views.scrubber(curves_of([0, 1, 1])), WHOLE),
        (lambda: views.scrubber(curves_of([-1, 1])), WHOLE + ", got -1, 1"),
        (lambda: views.scrubber(curves_of([0.5, 1])), WHOLE + ", got 0.5, 1.0"),
        (lambda: views.scrubber(curves_of(["a", "b"])), WHOLE + ", got a, b"),
        (lambda: views.scrubber(curves_of([0, 2**40])), WHOLE),
        (lambda: views.scrubber(curves_of([5])), "at 2 or more steps, got 1"),
        (lambda: views.scrubber(curves_of(list(range(2001)))), r"at most 2000 steps, got 2001: .*isel\(step="),
        (
            lambda: views.scrubber(xr.Dataset({f"c{n}": curves_of().sink for n in range(9)})),
            r"at most 8 curves, .* got 9: choose with names=\['c0', 'c1'\]",
        ),
        (lambda: views.scrubber(curves_of() / 0), "loss as finite numbers, .* got infinity"),
        (lambda: views.scrubber(curves_of(vmin=1, vmax=0)), "axis of sink is empty: .*attrs vmin < vmax, got 1 and 0"),
        (lambda: views.scrubber(curves_of(), maps=np.eye(3)), r"maps as a DataArray \(step, query, key\), got ndarray"),
        (
            lambda: views.scrubber(curves_of(), maps=maps_of().expand_dims(head=2)),
            r"got \(head, step, query, key\): choose one",
        ),
        (lambda: views.scrubber(curves_of(), maps=maps_of() * 2), "attention, from 0 to 1, got 0 to 2"),
        (lambda: views.scrubber(curves_of(), maps=maps_of() * np.nan), "maps must be finite numbers, got nan"),
        (lambda: views.scrubber(curves_of(), maps=maps_of().isel(step=[])), "expected maps at 1 or more steps, got 0"),
        (lambda: views.scrubber(curves_of(), maps=maps_of(list("x" * 65))), "at most 64 tokens, got 65: .*isel"),
        (
            lambda: views.scrubber(curves_of(), maps=maps_of(list("x" * 64), list(range(1000)))),
            r"4.1 MB .* choose fewer with maps.isel\(step=",
        ),
        (lambda: views.scrubber(curves_of(), bars=maps_of()), r"bars as a DataArray \(step, position\), got"),
        (lambda: views.scrubber(curves_of(), bars=-bars_of()), "bars as finite amounts, .* got -1000"),
        (lambda: views.scrubber(curves_of(), bars=bars_of() / 0), "bars as finite amounts, .* got infinity"),
        (lambda: views.scrubber(curves_of(), bars=bars_of(list("x" * 65))), "bars of at most 64 tokens, got 65"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(call, sentence):
    with pytest.raises(ArrayError, match=sentence):
        call()


def test_an_unknown_variable_scale_or_option_is_refused():
    with pytest.raises(InputError, match="no variable 'los' among the curves: expected some of loss, sink"):
        views.scrubber(curves_of(), names=["los"])
    with pytest.raises(InputError, match="no scale 'symlog': expected 'linear' or 'log'"):
        views.scrubber(curves_of(), scale="symlog")
    with pytest.raises(OptionError, match=r"scrubber has no option 'map': .* did you mean 'maps'"):
        views.scrubber(curves_of(), map=maps_of())


def test_hostile_names_are_drawn_not_interpreted():
    given = xr.Dataset({name: curves_of().sink.assign_attrs(long_name=name) for name in HOSTILE[:8] if name.strip()})
    view = views.scrubber(given, maps=maps_of(HOSTILE), bars=bars_of(HOSTILE), title=HOSTILE[1])
    data, _ = view._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1


def test_every_output_is_there_is_small_and_depends_on_the_data_alone():
    made = [views.scrubber(curves_of(seeds=2), maps=maps_of(), bars=bars_of(), title="run") for _ in range(2)]
    one, other = (view._repr_mimebundle_()[0] for view in made)
    assert one["text/plain"] == "Scrubber(curves=['loss', 'sink'], steps=8, step=1000)"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 40_000
    made[0].step = 0
    assert made[0]._repr_mimebundle_()[0]["image/png"] != one["image/png"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(view, tmp_path, suffix):
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def texts_in(view: views.Scrubber) -> list[str]:
    figure = view.figure()
    parts = [figure, *figure.subfigs, *(inner for part in figure.subfigs for inner in part.subfigs)]
    written = [text.get_text() for part in parts for text in part.texts]
    for axes in figure.axes:
        written += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts)]
    return written


def test_the_still_picture_says_what_the_page_says(view):
    view.step = 100
    texts = texts_in(view)
    for text in ("loss", "sink", "attention to <bos>", "1,000", "1.71", "0.571", "·cat", "↵", "10.0"):
        assert text in texts
    assert "attention at step 90, the nearest that was kept" in texts
    view.step = 0
    assert "value norm at step 0" in texts_in(view)


def test_a_curve_without_values_and_norms_of_0_are_drawn():
    given = curves_of()
    given["sink"] = given.sink * np.nan
    view = views.scrubber(given, bars=bars_of() * 0)
    assert {"undefined", "0.000"} <= set(texts_in(view))


def test_a_view_that_shows_nothing_yet_has_a_plain_repr():
    assert repr(views.Scrubber()) == "Scrubber(curves=[], steps=0, step=0)"
