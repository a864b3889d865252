"""The patch grid sends what a sweep gave, keeps pins that still exist, links them, and says what it expects."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode

import numpy as np
import pytest
import torch
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, HookError, InputError, OptionError
from nbtools.views.base import source
from nbtools.views.group import links_between
from tests.unit.test_lens_grid import lens_of
from tests.unit.test_views import HOSTILE

LAYERS = [3, 4, 7]
TOKENS = ["The", " cat", " sat", "\n", "$a_b$"]
SOURCES = ["The", " dog", " sat", "\n", "$a_b$"]


def effect_of(
    layers: list[int] = LAYERS, tokens: list[str] = TOKENS, sources: list[str] | None = None, seed: int = 0
) -> xr.DataArray:
    """Make effects as `nbtools.patching.patch` labels them, of positions."""
    values = np.random.default_rng(seed).normal(0, 0.4, (len(layers), len(tokens))).astype(np.float32)
    coords = {"layer": layers, "position": range(len(tokens)), "base": -2.0, "source": 6.0}
    coords["token"] = ("position", np.array(tokens, dtype=object))
    if sources:
        coords["source_token"] = ("position", np.array(sources, dtype=object))
    attrs = {"site": "resid_pre", "metric": "logit_difference", "zero": "into", "one": "from", "complete": 1}
    return xr.DataArray(values, dims=("layer", "position"), coords=coords, name="effect", attrs=attrs)


def heads_of(layers: list[int] = LAYERS, heads: int = 4) -> xr.DataArray:
    values = np.arange(float(len(layers) * heads)).reshape(len(layers), heads) / 20
    coords = {"layer": layers, "head": range(heads)}
    return xr.DataArray(values, dims=("layer", "head"), coords=coords, attrs={"site": "z"})


def named_of(names: list[str]) -> xr.DataArray:
    return effect_of(tokens=TOKENS[: len(names)]).drop_vars("token").assign_coords(position=names)


def ones(**sizes: int) -> xr.DataArray:
    return xr.DataArray(np.ones(tuple(sizes.values())), dims=tuple(sizes))


@pytest.fixture
def effect() -> xr.DataArray:
    return effect_of(sources=SOURCES)


def sent(view: views.PatchGrid, name: str = "effect") -> np.ndarray:
    return np.frombuffer(view._frame[name], np.float32).reshape(len(view._frame["layers"]), -1)


def test_what_is_sent_stands_for_the_sweep(effect):
    frame = views.patch_grid(effect)._frame
    np.testing.assert_array_equal(sent(views.patch_grid(effect)), effect)
    assert (frame["layers"], frame["pins"], frame["numbers"], frame["texts"]) == (
        LAYERS,
        *[[0, 1, 2, 3, 4]] * 2,
        TOKENS,
    )
    assert frame["others"] == ["", " dog", "", "", ""]
    assert frame["names"] == ["0 “The”", "1 “·cat” ← “·dog”", "2 “·sat”", "3 “↵”", "4 “$a_b$”"]
    assert (frame["base"], frame["source"], frame["metric"], frame["label"]) == (-2, 6, "logit difference", "effect")
    assert (frame["note"], frame["complete"], frame["estimate"]) == ("0: into; 1: from", True, b"")


def test_linked_grids_stay_answering_when_one_shows_heads(effect):
    """A pin that the other grid reads in its own way is not sent back and forth."""
    one, other = views.patch_grid(effect), views.patch_grid(effect)
    views.link(one, other)
    other.show(heads_of())
    draw = np.random.default_rng(0)
    for _ in range(200):
        grid = (one, other)[draw.integers(2)]
        grid.select(*(None if draw.random() < 0.2 else int(draw.choice(part)) for part in (LAYERS, [0, 1, 3])))
    one.select(None, None)
    assert one.column is None


def test_what_an_array_does_not_say_is_left_out():
    frame = views.patch_grid([[0.1, 0.5], [0.2, np.nan]])._frame
    assert (frame["layers"], frame["kind"], frame["pins"], frame["texts"], frame["others"]) == (
        [0, 1], "position", [0, 1], [], [],
    )  # fmt: skip
    assert frame["names"] == ["position 0", "position 1"]
    assert (frame["base"], frame["source"], frame["note"], frame["label"]) == (None, None, "", "effect")


def test_lists_arrays_and_tensors_are_taken_as_layers_by_positions():
    values = [[0.5, 1.0, 0.0], [0.25, -0.5, 0.0]]
    for made in (values, np.array(values), torch.tensor(values, dtype=torch.bfloat16, requires_grad=True)):
        assert repr(views.patch_grid(made)) == "PatchGrid(layers=2, positions=3, layer=None, position=None)"


@pytest.mark.parametrize(
    ("kind", "many", "name"),
    [
        ("head", "heads", "1"),
        ("neuron", "neurons", "neuron 1"),
        ("query", "queries", "query 1"),
        ("key", "keys", "key 1"),
    ],
)
def test_columns_may_be_anything_that_is_swept(kind, many, name):
    view = views.patch_grid(ones(**{"layer": 3, kind: 2}), selected=(2, 1))
    assert repr(view) == f"PatchGrid(layers=3, {many}=2, layer=2, {kind}=1)"
    assert (view._frame["many"], view._frame["names"][1]) == (many, name)
    assert view._frame["causal"] == (kind in ("query", "key"))


def test_queries_have_their_own_tokens():
    array = xr.DataArray(np.ones((2, 2)), dims=("layer", "query"), coords={"query_token": ("query", ["a", " b"])})
    assert views.patch_grid(array)._frame["names"] == ["query 0 “a”", "query 1 “·b”"]


def test_layers_and_positions_ascend_and_dimensions_may_come_in_any_order(effect):
    mixed = effect.isel(layer=[2, 0, 1], position=[3, 0, 4, 2, 1]).transpose("position", "layer")
    assert views.patch_grid(mixed)._frame == views.patch_grid(effect)._frame


def test_heads_stay_in_the_order_that_was_asked_for():
    assert views.patch_grid(heads_of().isel(head=[2, 0]))._frame["pins"] == [2, 0]


def test_a_part_keeps_the_names_of_its_layers_and_positions(effect):
    view = views.patch_grid(effect.sel(layer=[4, 7]).isel(position=slice(2, 4)), selected=(7, 3))
    assert (view._frame["layers"], view._frame["pins"], view._frame["texts"]) == ([4, 7], [2, 3], [" sat", "\n"])
    assert repr(view) == "PatchGrid(site='resid_pre', layers=2, positions=2, layer=7, position=3)"


def test_named_positions_are_pinned_by_name_or_place():
    view = views.patch_grid(named_of(["S2", "END"]), selected=(4, "END"))
    assert (view.column, view._frame["texts"], view._frame["numbers"]) == (1, ["S2", "END"], [])
    assert repr(view) == "PatchGrid(site='resid_pre', layers=3, positions=2, layer=4, position='END')"
    view.select(4, 0)
    assert (view.column, view._position, view._frame["causal"]) == (0, None, False)
    view.show(named_of(["IO", "S2"]))
    assert view.column == 1  # where S2 is now


def test_an_estimate_has_its_cells_in_the_same_places(effect):
    estimate = effect.copy(data=effect.values + 1).isel(layer=[1, 2, 0], position=[4, 3, 2, 1, 0]).transpose()
    half = effect.where(effect.layer > 3)
    view = views.patch_grid(half, estimate=estimate)
    np.testing.assert_array_equal(sent(view, "estimate"), effect.values + 1)
    np.testing.assert_array_equal(sent(view), half)
    view.show(effect)
    assert view._frame["estimate"] == b""


def test_a_plain_estimate_goes_with_plain_effects():
    view = views.patch_grid([[np.nan, 0.5]], estimate=[[0.25, np.nan]])
    assert sent(view, "estimate")[0, 0] == 0.25


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda effect: effect.isel(layer=slice(2)),
            r"the same cells \(layer=3, position=5\), got \(layer=2, position=5\)",
        ),
        (lambda effect: effect.rename(position="key"), r"got \(layer=3, key=5\)"),
        (lambda effect: effect.assign_coords(layer=[3, 4, 8]), "it lacks layer 7"),
        (lambda effect: effect.assign_coords(position=[*"abcde"]), "it lacks position 0"),
        (lambda effect: effect.sel(layer=3), "expected the estimate with dimensions layer and one of position, head"),
        (lambda effect: "x", "expected numbers"),
    ],
)
def test_an_estimate_of_something_else_is_refused(effect, change, sentence):
    view = views.patch_grid(effect, selected=(7, 2))
    frame = view._frame
    with pytest.raises(ArrayError, match=sentence):
        view.show(effect, estimate=change(effect))
    assert view._frame is frame
    assert (view.layer, view.column) == (7, 2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (ones(layer=2, position=3, head=4), r"choose with \.sel\(head=…\), or take \.max\('head'\)"),
        (ones(prompt=2, layer=3, position=4), r"\.mean\('prompt'\)"),
        (ones(layer=2, token=3), r"one of position, head.*, got \(layer, token\)"),
        (ones(position=3), r"got \(position\)"),
        (np.ones(3), r"an array \(layer, position\), got shape \(3,\)"),
        (np.ones((2, 3, 4)), r"got shape \(2, 3, 4\)"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        ([[1.0], [2.0, 3.0]], "regular array"),
        (None, "expected numbers|got shape"),
        (effect_of(layers=[3, 3, 4]), "each layer once, layer 3 is there 2 times"),
        (effect_of().assign_coords(position=[0, 1, 1, 2, 3]), "each position once, position 1 is there 2 times"),
        (effect_of().assign_coords(layer=["a", "b", "c"]), "layers as whole numbers, got 'a'"),
        (ones(layer=2, neuron=513), r"513 neurons, more than 512: .*neurons=\) or effect\.sel\(neuron=…\)"),
        (np.ones((60, 10_000)), r"more than 4 MB: choose fewer with patch\(…, positions="),
    ],
)  # fmt: skip
def test_a_bad_array_is_explained_and_leaves_the_view_as_it_was(effect, values, sentence):
    view = views.patch_grid(effect, selected=(7, 4))
    frame = view._frame
    with pytest.raises(ArrayError, match=sentence):
        view.show(values)
    assert view._frame is frame
    assert (view.layer, view.column) == (7, 4)


def test_the_colour_range_is_fixed_and_symmetric_unless_another_is_chosen(effect):
    most = float(abs(effect).max())
    for options, expected in (({}, (-1, 1)), ({"vmax": 2}, (-1, 2)), ({"vmin": None, "vmax": None}, (-most, most))):
        frame = views.patch_grid(effect, **options)._frame
        assert (frame["vmin"], frame["vmax"]) == pytest.approx(expected)
    view = views.patch_grid(effect)
    assert view._scale.cmap == "RdBu"
    view.rescale(-0.5, 0.5)
    assert (view._frame["vmax"], view._frame["layers"]) == (0.5, LAYERS)
    view.show(effect)
    assert view._frame["vmax"] == 0.5


def test_pins_are_made_and_read_from_python(effect):
    view = views.patch_grid(effect, selected=(7, 2))
    assert (view.layer, view.column, view.head) == (7, 2, None)
    view.select(3)
    assert (view.layer, view.column) == (3, None)
    view.select(column=np.int64(4))
    assert (view.layer, view.column) == (None, 4)
    view.layer = 4
    assert repr(view) == "PatchGrid(site='resid_pre', layers=3, positions=5, layer=4, position=4)"
    view.select()
    assert (view.layer, view.column) == (None, None)


def test_a_head_is_pinned_by_its_numbers_or_its_label():
    view = views.patch_grid(heads_of(), selected=(7, 2))
    assert (view.head, repr(view)) == ("7.2", "PatchGrid(site='z', layers=3, heads=4, layer=7, head=2)")
    view.head = "3.1"
    assert (view.layer, view.column) == (3, 1)
    view.layer = 4
    assert view.head == "4.1"
    view.column = None
    assert (view.layer, view.head) == (4, None)
    view.head = "4.0"
    view.head = None
    assert (view.layer, view.column) == (None, None)


def test_who_listens_hears_of_a_pin_once_and_only_when_it_is_whole():
    view, heard = views.patch_grid(heads_of(), selected=(3, 1)), []
    view.observe(lambda change: heard.append((view.layer, view.column, view.head)), ["layer", "column", "head"])
    view.select(7, 2)
    view.head = "4.0"
    assert heard == [(7, 2, "7.2")] * 3 + [(4, 0, "4.0")] * 3


def test_showing_another_sweep_keeps_the_pins_that_still_exist(effect):
    view = views.patch_grid(effect, selected=(7, 4))
    view.show(effect_of(seed=1))
    assert (view.layer, view.column) == (7, 4)
    view.show(effect_of(tokens=TOKENS[:3]))
    assert (view.layer, view.column) == (7, None)
    view.show(effect_of(layers=[1, 2]))
    assert (view.layer, view.column) == (None, None)


def test_a_pinned_position_is_no_pinned_head(effect):
    view = views.patch_grid(effect, selected=(7, 2))
    view.show(heads_of())
    assert (view.layer, view.column, view.head) == (7, None, None)


@pytest.mark.parametrize(
    ("selected", "error", "sentence"),
    [
        ((5, 0), HookError, "layer 5 is not in this view: expected 3, 4, 7, or None"),
        ((7, 5), InputError, "position 5 is not in this view: expected 0 to 4, or None"),
        ((7, -1), InputError, "position -1 is not in this view"),
        ((7, "END"), InputError, "position END is not"),
        ((None, 1.5), InputError, "position 1.5 is not"),
        (7, InputError, r"a layer and a column, such as selected=\(18, 6\), got 7"),
        ((1, 2, 3), InputError, r"got \(1, 2, 3\)"),
    ],
)
def test_a_wrong_selection_is_explained(effect, selected, error, sentence):
    with pytest.raises(error, match=sentence):
        views.patch_grid(effect, selected=selected)


def test_refused_pins_and_ranges_leave_the_view_as_it_was(effect):
    view = views.patch_grid(effect, selected=(7, 4))
    frame = view._frame
    for change in (
        lambda: setattr(view, "layer", 5),
        lambda: setattr(view, "column", 99),
        lambda: setattr(view, "head", "7.1"),
        lambda: view.select(3, 99),
        lambda: view.select(99, 3),
        lambda: view.show(effect, cmap="viridi"),
        lambda: view.show(effect, vmin=1, vmax=0),
        lambda: view.rescale(1, 0),
    ):
        with pytest.raises(InputError):
            change()
    with pytest.raises(traitlets.TraitError):
        view.layer = "x"
    assert (view.layer, view.column, view.head) == (7, 4, None)
    assert view._frame is frame


def test_heads_that_are_not_there_are_refused():
    view = views.patch_grid(heads_of(), selected=(7, 2))
    for label, sentence in (
        ("5.1", "layer 5 is not"),
        ("7.9", "head 9 is not in this view: expected 0 to 3"),
        ("x", "18.6"),
    ):
        with pytest.raises(HookError, match=sentence):
            view.head = label
    assert (view.layer, view.column, view.head) == (7, 2, "7.2")


def test_a_misspelt_option_is_answered_with_those_there_are(effect):
    with pytest.raises(OptionError, match="did you mean 'estimate'"):
        views.patch_grid(effect, estimat=effect)


def test_a_view_that_shows_nothing_yet_pins_nothing():
    for name, value in (("layer", 3), ("column", 0), ("head", "1.2")):
        with pytest.raises(InputError, match="nothing before show"):
            setattr(views.PatchGrid(), name, value)
    assert repr(views.PatchGrid()) == "PatchGrid(layers=0, positions=0, layer=None, position=None)"


def test_what_the_page_pins_reaches_python_under_every_name(effect):
    view = views.patch_grid(heads_of())
    other = views.patch_grid(heads_of())
    views.link(view, other)
    for layer, column, head in ((7, 2, "7.2"), (3, 1, "3.1"), (None, None, None)):
        view.set_state({"layer": layer, "column": column, "_layer": None, "_position": None, "_head": head})
        assert (view.layer, view.column, view.head) == (other.layer, other.column, other.head) == (layer, column, head)


def test_a_pin_that_the_page_sends_too_late_is_released(effect):
    view = views.patch_grid(effect)
    with pytest.raises(InputError):
        view.set_state({"layer": 29, "column": 2, "_layer": 29, "_position": 2, "_head": None})
    assert (view.layer, view.column) == (None, 2)
    assert view._repr_mimebundle_()[0]["image/png"]


def test_positions_are_linked_both_ways_with_a_strip_and_a_map_of_attention(effect):
    view, strip = views.patch_grid(effect), views.token_strip(TOKENS, range(5))
    attention = views.attention(np.eye(5)[None, None])
    assert views.link(view, strip).dimensions == views.link(attention, view).dimensions == ("position",)
    view.select(7, 3)
    assert (strip.selected, attention.query) == (3, 3)
    strip.selected = 1
    assert (view.layer, view.column, attention.query) == (7, 1, 1)
    attention.query = None
    assert (view.layer, view.column, strip.selected) == (7, None, None)


def test_cells_are_linked_both_ways_with_a_lens(effect):
    view, lens = views.patch_grid(effect), views.lens_grid(lens_of())
    assert views.link(view, lens).dimensions == ("layer", "position")
    view.select(7, 3)
    assert (lens.layer, lens.position) == (7, 3)
    lens.select(4, 1)
    assert (view.layer, view.column) == (4, 1)
    lens.layer = -1  # the embedding, which is not swept
    assert (view.layer, view.column) == (4, 1)


def test_heads_are_linked_both_ways_with_a_grid_of_heads_and_a_map_of_attention():
    view, grid = views.patch_grid(heads_of()), views.head_grid(heads_of())
    attention = views.attention(heads_of().expand_dims(query=2, key=2).transpose("layer", "head", "query", "key"))
    assert views.link(view, grid).dimensions == views.link(view, attention).dimensions == ("head",)
    view.select(7, 2)
    assert (grid.selected, attention.head) == (["7.2"], "7.2")
    grid.selected = ["3.0", "4.1"]
    assert (view.layer, view.column, view.head, attention.head) == (4, 1, "4.1", "4.1")
    attention.head = "3.3"
    assert (view.head, grid.selected) == ("3.3", ["3.3"])
    grid.selected = []
    assert (view.layer, view.column, view.head, attention.head) == (None, None, None, "3.3")


def test_two_sweeps_are_compared_on_one_scale_and_pinned_together(effect):
    for one, other in ((effect, effect_of(seed=1)), (heads_of(), heads_of()), (named_of(["S2", "END"]),) * 2):
        pair = views.compare(views.patch_grid(one, vmax=0.5), views.patch_grid(other), titles=["denoising", "noising"])
        first, second = pair.rows[0]
        first.select(4, first._cells.columns[1])
        assert (second.layer, second.column, first._scale.vmax) == (4, 1, 1)
        second.select()
        assert (first.layer, first.column) == (None, None)
        first.select(7, first._cells.columns[0])
        assert (second.layer, second.column) == (7, 0)
        first.select(3, first._cells.columns[1])
        assert (second.layer, second.column) == (first.layer, first.column) == (3, 1)


def test_names_are_linked_only_with_the_same_names():
    one, other = views.patch_grid(named_of(["S2", "END"])), views.patch_grid(named_of(["IO", "END"]))
    assert views.link(one, other).dimensions == ("layer",)
    assert "position" not in one._pins


def test_a_link_rests_while_columns_are_something_else(effect):
    view, strip = views.patch_grid(effect, selected=(7, 2)), views.token_strip(TOKENS, range(5))
    views.link(view, strip)
    view.show(heads_of())
    assert strip.selected is None
    view.select(7, 2)
    assert strip.selected is None
    strip.selected = 3
    assert (view.column, view.head) == (2, "7.2")
    assert links_between([view, strip]) == [[[0, "_position"], [1, "selected"]]]
    view.show(effect)
    strip.selected = 4
    assert view.column == 4


def test_what_is_not_a_number_is_sent_as_that_and_hatched(effect):
    view = views.patch_grid(effect.where(effect.layer > 3), selected=(3, 1))
    assert np.isnan(sent(view)[0]).all()
    assert np.isfinite(sent(view)[1:]).all()
    assert views.patch_grid(np.full((2, 3), np.nan))._repr_mimebundle_()[0]["image/png"]


def test_hostile_tokens_are_sent_and_drawn_as_they_are():
    sources = HOSTILE[::-1]
    view = views.patch_grid(effect_of(tokens=HOSTILE, sources=sources), selected=(7, 2))
    assert view._frame["texts"] == HOSTILE
    assert view._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")
    many = views.patch_grid(effect_of(tokens=HOSTILE * 5, sources=sources * 5))
    assert many._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("selected", [None, (7, 2), (None, 2), (7, None)])
def test_the_picture_keeps_the_pin_and_is_the_same_each_time(effect, selected):
    one, other = (views.patch_grid(effect, selected=selected)._repr_mimebundle_()[0] for _ in range(2))
    assert one["text/plain"] == repr(views.patch_grid(effect, selected=selected))
    assert one["image/png"] == other["image/png"]
    assert len(one["image/png"]) < 40_000


def test_what_is_pinned_shows_in_the_picture_with_what_a_patch_there_can_change(effect):
    pins = [None, (7, 2), (3, 2), (None, 2), (7, None), (3, 3)]
    pictures = [views.patch_grid(effect, selected=pin)._repr_mimebundle_()[0]["image/png"] for pin in pins]
    assert len(set(pictures)) == len(pins)
    image = views.patch_grid(effect, selected=(4, 2)).figure().axes[0].images[0].get_array()
    bright = image[..., 3] == 1
    np.testing.assert_array_equal(bright, [[0] * 5, [0, 0, 1, 0, 0], [0, 0, 1, 1, 1]])
    heads = views.patch_grid(heads_of(), selected=(4, 2)).figure().axes[0].images[0].get_array()
    np.testing.assert_array_equal(heads[..., 3] == 1, [[0] * 4, [0, 0, 1, 0], [1] * 4])


def texts_of(view: views.PatchGrid) -> list[str]:
    return [text.get_text() for text in view.figure().axes[0].texts]


def test_the_picture_writes_numbers_tokens_and_where_the_runs_differ(effect):
    assert texts_of(views.patch_grid(effect)) == [
        "0", "1", "2", "3", "4", "The", "·cat", "↑·dog", "·sat", "↵", "$a_b$",
    ]  # fmt: skip
    assert texts_of(views.patch_grid(heads_of())) == ["0", "1", "2", "3", "head"]
    assert texts_of(views.patch_grid(named_of(["S2", "END"]))) == ["S2", "END"]
    axes = views.patch_grid(effect).figure().axes[0]
    assert not any(text.get_parse_math() for text in axes.texts)


def test_the_picture_of_a_long_prompt_writes_upward_and_first_where_the_runs_differ():
    tokens = [f"t{n}" for n in range(128)]
    shown = texts_of(views.patch_grid(effect_of(tokens=tokens, sources=[*tokens[:31], "u", *tokens[32:]])))
    assert "u → t31" in shown
    assert {"t28", "t34"} <= set(shown)
    assert not {"t30", "t32"} & set(shown)


def test_the_picture_of_a_very_long_prompt_shows_a_window_around_what_is_pinned():
    effect = effect_of(tokens=[f"t{n}" for n in range(400)])
    widths = []
    for position in (None, 0, 200, 399):
        figure = views.patch_grid(effect, selected=(7, position)).figure()
        widths.append((figure.axes[0].images[0].get_array().shape[1], figure.get_size_inches()[0] < 11))
    assert widths == [(160, True)] * 4
    assert "t200" in texts_of(views.patch_grid(effect, selected=(7, 200)))


def test_estimates_are_drawn_small_where_there_is_no_effect_yet(effect):
    half = effect.where(effect.position > 1)
    axes = views.patch_grid(half, estimate=effect).figure().axes[0]
    assert len(axes.collections[0].get_paths()) == 2 * len(LAYERS)
    assert not axes.patches  # nothing is hatched
    assert len(views.patch_grid(half).figure().axes[0].patches) == 2 * len(LAYERS)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(effect, tmp_path, suffix):
    assert views.patch_grid(effect, selected=(7, 2)).save(tmp_path / f"patch{suffix}").stat().st_size > 1000


def test_a_page_without_a_kernel_holds_all_numbers_and_names_no_other_place(effect, tmp_path):
    view = views.patch_grid(effect.where(effect.layer > 3), estimate=effect, selected=(7, 2), title="Patching")
    page = view.save(tmp_path / "patch.html").read_text(encoding="utf-8")
    packed = max(re.findall(r'atob\("([A-Za-z0-9+/=]+)"\)', page), key=len)
    everything = zlib.decompress(b64decode(packed), -15)
    assert view._frame["effect"] in everything
    assert view._frame["estimate"] in everything
    assert not re.search(r"https?:|src=|href=", page)


def test_a_prompt_of_512_positions_is_stored_alive_in_the_notebook():
    bundle = views.patch_grid(effect_of(layers=list(range(30)), tokens=["a"] * 512))._repr_mimebundle_()[0]
    assert "<script>" in bundle["text/html"]
    assert len(bundle["text/html"]) < 1_100_000


def test_the_module_is_small():
    assert len(source("patch_grid").encode()) < 30_000
