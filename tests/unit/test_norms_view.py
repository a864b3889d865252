"""The view of norms: what is sent stands for what was given, pins stay where they exist, and bad input is explained."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, HookError, InputError, OptionError
from nbtools.views.base import source
from nbtools.views.norms.table import read_table
from tests.unit.test_views import HOSTILE

TOKENS = ["<bos>", "the", " cat", "\n"]
LAYERS = [0, 1, 2, 3, 4]


def norms_of(tokens: list[str] = TOKENS, layers: list[int] = LAYERS) -> xr.DataArray:
    """The first token's norm is 10 times as large in each layer; the others have 1, 2, 3, … in all of them."""
    values = np.tile(np.arange(len(tokens), dtype=float), (len(layers), 1))
    values[:, 0] = 10.0 ** np.arange(len(layers))
    coords = {"layer": layers, "position": range(len(tokens)), "token": ("position", tokens)}
    return xr.DataArray(values, coords, ("layer", "position"), name="residual_norm")


@pytest.fixture
def view() -> views.Norms:
    return views.norms(norms_of())


def sent(view: views.Norms) -> np.ndarray:
    return np.frombuffer(view._frame["values"], np.float32).reshape(len(view._frame["layers"]), -1)


def test_what_is_sent_stands_for_what_was_given(view):
    frame = view._frame
    np.testing.assert_array_equal(sent(view), norms_of().astype("float32"))
    assert (frame["layers"], frame["positions"], frame["tokens"]) == (LAYERS, [0, 1, 2, 3], TOKENS)
    assert (frame["label"], frame["vmin"], frame["vmax"]) == ("residual norm", 1, 10000)
    assert frame["marks"] == [(1, "1"), (10, "10"), (100, "100"), (1000, "1,000"), (10000, "10,000")]
    assert len(frame["lut"]) == 768


def test_arrays_lists_and_other_orders_are_taken(view):
    assert views.norms(norms_of().T)._frame == view._frame
    plain = views.norms(norms_of().values.tolist(), TOKENS, label="residual norm")
    assert plain._frame == view._frame
    numbered = views.norms(norms_of().values)._frame
    assert (numbered["tokens"], numbered["label"]) == (["0", "1", "2", "3"], "norm")
    some = views.norms(norms_of().sel(layer=[1, 3], position=[2, 3]))
    assert (some._frame["layers"], some._frame["positions"], some._frame["tokens"]) == ([1, 3], [2, 3], TOKENS[2:])


def test_the_others_are_all_tokens_but_one_as_far_as_they_are_known():
    given = norms_of()
    given[1, 2] = np.nan
    table = read_table(given, None, None)
    low, median, high = table.others(0)
    np.testing.assert_array_equal([low[0], median[0], high[0]], [1, 2, 3])
    np.testing.assert_array_equal([low[1], median[1], high[1]], [1, 2, 3])  # 1 and 3
    assert table.strongest == 0
    lonely = read_table(given[:, :1], None, None)
    assert np.isnan(lonely.others(0)).all()


def test_pins_can_be_set_and_must_exist(view):
    assert repr(view) == "Norms(layers=5, tokens=4, layer=None, position=None)"
    view.select(3, 0)
    view.position = 2
    assert repr(view) == "Norms(layers=5, tokens=4, layer=3, position=2)"
    view.select()
    assert (view.layer, view.position) == (None, None)
    with pytest.raises(HookError, match="layer 5 is not in this view: expected 0 to 4, or None"):
        view.layer = 5
    with pytest.raises(InputError, match="position 4 is not in this view: expected 0 to 3, or None"):
        view.select(1, 4)
    assert (view.layer, view.position) == (None, None)


def test_other_norms_keep_the_pins_that_still_exist(view):
    view.select(3, 2)
    view.show(norms_of(layers=[3, 9]))
    assert (view.layer, view.position) == (3, 2)
    view.show(norms_of(TOKENS[:2], layers=[9]))
    assert (view.layer, view.position) == (None, None)


def test_linked_views_share_layer_and_position(view):
    other = views.norms(norms_of(layers=[2, 3]))
    views.link(view, other)
    view.select(3, 1)
    assert (other.layer, other.position) == (3, 1)
    other.position = 0
    assert view.position == 0


def test_the_range_can_be_chosen_and_is_shared_by_two_that_are_compared(view):
    assert views.norms(norms_of(), vmin=0.1, vmax=5e4)._frame["vmax"] == 5e4
    view.rescale(1, 100)
    assert [mark for mark, _ in view._frame["marks"]] == [1, 10, 100]
    view.rescale()
    assert view._frame["vmax"] == 10000
    other = views.norms(norms_of() / 100)
    views.compare(view, other)
    assert (view._frame["vmin"], other._frame["vmax"]) == (0.01, 10000)


def test_bad_input_leaves_the_view_as_it_was(view):
    before = dict(view._frame)
    for call in (
        lambda: view.show(-norms_of()),
        lambda: view.show(norms_of(), vmin=-1),
        lambda: view.rescale(0, 10),
        lambda: view.rescale(10, 1),
    ):
        with pytest.raises(InputError):
            call()
    assert view._frame == before


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: views.norms(norms_of().expand_dims(head=2)),
            ArrayError,
            r"layer and position, got \(head, layer, position\): choose with .sel\(head=…\)",
        ),
        (lambda: views.norms(norms_of()[0]), ArrayError, r"layer and position, got \(position\)"),
        (lambda: views.norms([1.0, 2.0]), ArrayError, r"1 to 128 layers and tokens, got shape \(2,\)"),
        (lambda: views.norms(np.ones((2, 129))), ArrayError, r"got shape \(2, 129\): choose with .isel\(position="),
        (lambda: views.norms(-norms_of()), ArrayError, "norms as finite amounts, 0 or more, .* got -10000"),
        (lambda: views.norms(norms_of() * np.inf), ArrayError, "norms as finite amounts, .* got infinity"),
        (lambda: views.norms(norms_of(), ["a"]), ArrayError, "expected 4 tokens, one for each position, got 1"),
        (lambda: views.norms(norms_of(layers=[1, 1])), ArrayError, r"each layer once, got \[1, 1\]: choose with"),
        (lambda: views.norms(norms_of(), vmin=0), InputError, "begins above 0: expected vmin > 0, got 0"),
        (lambda: views.norms(norms_of(), vmax=float("nan")), InputError, "expected vmax > 0, got nan"),
        (lambda: views.norms(norms_of(), vmin=5, vmax=2), InputError, "range is empty"),
        (lambda: views.norms(norms_of(), cmap="virids"), InputError, "no colour map 'virids'"),
        (lambda: views.norms(norms_of(), head=3), OptionError, "norms has no option 'head': expected any of layer"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_hostile_tokens_are_drawn_not_interpreted():
    view = views.norms(norms_of(HOSTILE), title=HOSTILE[1], label=HOSTILE[2], position=7)
    data, _ = view._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1


def test_every_output_is_there_is_small_and_depends_on_the_data_alone():
    made = [views.norms(norms_of(), layer=2, position=1, title="norms") for _ in range(2)]
    one, other = (view._repr_mimebundle_()[0] for view in made)
    assert one["text/plain"] == "Norms(layers=5, tokens=4, layer=2, position=1)"
    assert (one["image/png"], one["text/html"]) == (other["image/png"], other["text/html"])
    assert len(one["image/png"]) < 40_000
    made[0].layer = None
    assert made[0]._repr_mimebundle_()[0]["image/png"] != one["image/png"]
    assert len(source("norms").encode()) < 30_000


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(view, tmp_path, suffix):
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def texts_in(view: views.Norms) -> list[str]:
    axes = view.figure().axes
    labels = [label.get_text() for part in axes for label in (*part.get_xticklabels(), *part.get_yticklabels())]
    return [text.get_text() for part in axes for text in part.texts] + labels


def test_the_still_picture_says_what_the_page_says(view):
    texts = texts_in(view)
    for text in ("layer", "0 “<bos>”", "others: median, range", "residual norm", "·cat", "↵", "1,000", "4"):
        assert text in texts
    view.position = 2
    assert "2 “·cat”" in texts_in(view)


def test_norms_of_0_undefined_ones_and_single_cells_are_drawn():
    for given in (norms_of() * 0, norms_of() * np.nan, norms_of()[:1, :1]):
        assert views.norms(given, layer=0)._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


def test_a_view_that_shows_nothing_yet_has_a_plain_repr():
    assert repr(views.Norms()) == "Norms(layers=0, tokens=0, layer=None, position=None)"
    with pytest.raises(HookError, match=r"nothing before show\(\) was called"):
        views.Norms(layer=1)


@pytest.mark.model
def test_the_first_token_of_the_embedded_model_stands_out_from_some_layer_on(model):
    from nbtools.measures import residual_norms

    view = views.norms(residual_norms(model, "The old harbour town woke slowly."), layer=12, position=0)
    table = view._table
    ratio = table.values[:, 0] / table.others(0)[1]
    assert (table.strongest, view._frame["label"]) == (0, "residual norm")
    assert ratio[12] > 100
    assert ratio[0] < 5
