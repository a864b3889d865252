"""Views take arrays, say what does not fit, give back what was selected, and leave a picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, HookError, InputError
from nbtools.views.base import source, style
from nbtools.views.colour import scale_for
from nbtools.views.pictures import colours_of

HOSTILE = ["<bos>", "</script><script>x", '<img src=x onerror="y">', "\n", " ", "𝕏", "ا", "$a_b$", "日本"]


@pytest.fixture
def pattern() -> xr.DataArray:
    """2 layers, 3 heads, 4 tokens: no two alike, so a mix-up shows."""
    rng = np.random.default_rng(0)
    values = np.tril(rng.random((2, 3, 4, 4)))
    values /= values.sum(-1, keepdims=True)
    text = np.array(["The", " cat", " sat", "\n"], dtype=object)
    coords = {"layer": [5, 9], "head": range(3), "query": range(4), "key": range(4)}
    coords |= {"query_token": ("query", text), "key_token": ("key", text)}
    return xr.DataArray(values, dims=("layer", "head", "query", "key"), coords=coords)


@pytest.fixture
def scores() -> xr.DataArray:
    return xr.DataArray(
        np.arange(6.0).reshape(2, 3), dims=("layer", "head"), coords={"layer": [5, 9], "head": range(3)}, name="a_b"
    )


def all_views(pattern, scores):
    return [
        views.token_strip(["The", " cat"], [0.1, 0.9]),
        views.attention(pattern),
        views.head_grid(scores),
    ]


def test_every_view_bundles_a_live_widget_a_picture_and_a_plain_repr(pattern, scores):
    for view in all_views(pattern, scores):
        data, _ = view._repr_mimebundle_()
        assert data["text/plain"] == repr(view)
        assert "0x" not in repr(view)
        assert data["image/png"].startswith(b"\x89PNG")
        assert len(data["image/png"]) < 40_000
        assert "application/vnd.jupyter.widget-view+json" in data


def test_the_picture_of_the_same_view_has_the_same_bytes(pattern, scores):
    for first, second in zip(all_views(pattern, scores), all_views(pattern, scores), strict=True):
        assert first._repr_mimebundle_()[0]["image/png"] == second._repr_mimebundle_()[0]["image/png"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_every_view_saves_its_picture(pattern, scores, tmp_path, suffix):
    for view in all_views(pattern, scores):
        assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def test_an_unknown_format_is_refused_and_the_known_ones_named(scores, tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf, \.html"):
        views.head_grid(scores).save(tmp_path / "view.gif")


def test_hostile_tokens_are_drawn_not_interpreted():
    size = len(HOSTILE)
    strip = views.token_strip(HOSTILE, np.linspace(0, 1, size))
    attention = views.attention(np.eye(size)[None], HOSTILE, query=2)
    for view in (strip, attention):
        assert view._repr_mimebundle_()[0]["image/png"]
        assert view._frame["tokens"] == HOSTILE


FOLDER = Path(views.__file__).parent
NAMES = sorted({path.parent.name for path in FOLDER.glob("*/*.js")})
LARGER = {"three_logits": 70_000}  # bytes: it holds two other views, and trains what they show


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_small_self_contained_and_declares_no_name_twice(name):
    text = source(name)
    assert len(text.encode()) < LARGER.get(name, 30_000)
    assert not [line for line in text.splitlines() if line.startswith("import ")]
    assert text.count("export default") == 1
    declared = re.findall(r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
    assert sorted(set(declared)) == sorted(declared)


def test_a_module_that_holds_views_has_each_of_their_parts_once_and_their_styles():
    text, sheet = source("three_logits"), style("three_logits")
    assert text.count("export function") == 0
    for once in ("function lossOf(", "const landscape = (() => {", "const scrubber = (() => {", "function framed("):
        assert text.count(once) == 1, once
    for name in ("nb-title", "nb-sign-path", "nb-scrub", "nb-dials"):
        assert f".{name}" in sheet, name
    assert sheet.count(".nb-title {") == 1


def levels_of(view, layer: int) -> bytes:
    return view._pages["levels"][str(layer)]


def test_the_page_gets_numbers_as_bytes_and_a_causal_pattern_without_its_empty_half(pattern):
    view = views.attention(pattern)
    assert view._frame["causal"]
    assert [len(levels_of(view, layer)) for layer in (0, 1)] == [3 * (4 * 5 // 2)] * 2
    full = views.attention(np.full((1, 4, 4), 0.25))
    assert not full._frame["causal"]
    assert len(levels_of(full, 0)) == 16


def test_bytes_sent_stand_for_the_numbers_given(pattern):
    view = views.attention(pattern)
    for layer in (0, 1):
        levels = np.frombuffer(levels_of(view, layer), np.uint8).reshape(3, 10) / 255
        np.testing.assert_allclose(levels, pattern.values[layer][:, *np.tril_indices(4)], atol=0.5 / 255 + 1e-6)


def test_large_patterns_are_sent_layer_by_layer_when_the_page_asks():
    view = views.attention(np.eye(200)[None, None].repeat(9, 0), head="4.0")
    assert list(view._pages["levels"]) == ["4"]
    view._wanted = 7
    assert list(view._pages["levels"]) == ["7"]
    assert view._pages["serial"] == view._frame["serial"]
    view._wanted = 99  # nothing is there
    assert list(view._pages["levels"]) == ["7"]


def test_still_and_live_pictures_use_the_same_colours():
    values = np.array([0.0, 0.5, 1.0, np.nan, 2.0, -1.0])
    scale = scale_for(values[:3], cmap=None, vmin=None, vmax=None, label="")
    table = np.frombuffer(scale.table(), np.uint8).reshape(256, 3)
    expected = table[[0, 128, 255, 0, 255, 0]] / 255
    found = colours_of(values, scale)
    np.testing.assert_allclose(found[[0, 1, 2, 4, 5], :3], expected[[0, 1, 2, 4, 5]])
    assert found[3, 3] == 0


def test_signed_values_get_a_symmetric_range():
    scale = scale_for(np.array([-1.0, 3.0]), cmap=None, vmin=None, vmax=None, label="", signed=True)
    assert (scale.cmap, scale.vmin, scale.vmax) == ("RdBu", -3, 3)


def test_a_selection_can_be_made_and_read_from_python(pattern, scores):
    grid = views.head_grid(scores, selected=["9.1"])
    grid.select((5, 0), "9.2")
    assert grid.selected == ["5.0", "9.2"]
    assert grid.selected_heads == [(5, 0), (9, 2)]
    grid.selected = "9.0"
    assert grid.selected == ["9.0"]
    attention = views.attention(pattern, head=(9, 1), query=2)
    assert (attention.head, attention.query) == ("9.1", 2)
    attention.select("5.0")
    assert (attention.head, attention.query) == ("5.0", None)
    strip = views.token_strip(["a", "b"], [1, 2])
    strip.selected = 1
    assert "selected=1" in repr(strip)


def test_showing_other_data_keeps_what_still_exists(pattern, scores):
    grid = views.head_grid(scores, selected=["5.0", "9.2"])
    grid.show(scores.sel(layer=[9]))
    assert grid.selected == ["9.2"]
    attention = views.attention(pattern, head="9.1", query=3)
    attention.show(pattern.sel(layer=[9]).isel(query=slice(2), key=slice(2)))
    assert (attention.head, attention.query) == ("9.1", None)


def test_tensors_lists_and_arrays_are_all_taken():
    values = [[[1.0, 0.0], [0.5, 0.5]]]
    for made in (values, np.array(values), torch.tensor(values, dtype=torch.bfloat16, requires_grad=True)):
        assert repr(views.attention(made)) == "Attention(heads=1, tokens=2, head='0', query=None)"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: views.token_strip(["a", "b"], [1.0]), ArrayError, "expected 1 tokens.*got 2 tokens"),
        (lambda: views.token_strip("ab", [1.0, 2.0]), ArrayError, "got one text"),
        (lambda: views.token_strip(["a"], [[1.0]]), ArrayError, "one value for each token"),
        (lambda: views.token_strip([], []), ArrayError, "one value for each token"),
        (lambda: views.token_strip(["a"], ["x"]), ArrayError, "expected numbers"),
        (lambda: views.token_strip(["a"], [1.0], details=["x", "y"]), ArrayError, "expected 1 tokens"),
        (lambda: views.token_strip(["a"], [1.0], cmap="viridi"), InputError, "no colour map 'viridi'"),
        (lambda: views.token_strip(["a"], [1.0], vmin=2, vmax=1), InputError, "vmin < vmax"),
        (lambda: views.token_strip([1.0, 2.0]), ArrayError, "coordinate 'token'"),
        (lambda: views.head_grid([1.0, 2.0]), ArrayError, r"\(layer, head\), got shape \(2,\)"),
        (lambda: views.head_grid([[1.0], [2.0, 3.0]]), ArrayError, "regular array"),
        (lambda: views.head_grid([[1.0]], selected=["0.1"]), HookError, "'0.1' is not in this grid"),
        (lambda: views.head_grid([[1.0]], selected=["x"]), HookError, 'such as "18.6"'),
        (lambda: views.head_grid(xr.DataArray([[1.0]], dims=("a", "b"))), ArrayError, "dimensions layer and head"),
        (lambda: views.attention(np.ones((1, 2, 3))), ArrayError, "as many queries as keys"),
        (lambda: views.attention(np.full((1, 2, 2), np.nan)), ArrayError, r"got nan at index \(0, 0, 0\)"),
        (lambda: views.attention(np.eye(2)[None], ["a"]), ArrayError, "expected 2 tokens"),
        (lambda: views.attention(np.eye(2)[None], head="3.1"), HookError, "not in this view"),
        (lambda: views.attention(np.eye(2)[None], query=2), InputError, "outside the prompt"),
        (lambda: views.attention(np.zeros((300, 200, 200))), ArrayError, "more than 4 MB: choose fewer"),
        (lambda: views.attention(xr.DataArray(np.ones((1, 1)), dims=("a", "key"))), ArrayError, "choose one prompt"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_bad_selections_leave_the_view_as_it_was(pattern, scores):
    strip, attention, grid = views.token_strip(["a"], [1.0]), views.attention(pattern), views.head_grid(scores)
    with pytest.raises(InputError):
        strip.selected = 1
    with pytest.raises(InputError):
        attention.query = -1
    with pytest.raises(HookError):
        attention.head = "5.7"
    with pytest.raises(HookError):
        grid.selected = ["5.7"]
    with pytest.raises(traitlets.TraitError):
        grid.selected = 9
    with pytest.raises(ArrayError):
        attention.show(np.full((1, 2, 2), np.nan))
    assert (strip.selected, attention.query, attention.head, grid.selected) == (None, None, "5.0", [])
    assert len(attention._frame["tokens"]) == 4


def test_undefined_scores_are_shown_as_undefined(scores):
    scores = scores.copy()
    scores[0, 0] = np.nan
    grid = views.head_grid(scores)
    assert np.isnan(np.frombuffer(grid._frame["values"], np.float32)[0])
    assert views.head_grid(np.full((2, 2), np.nan))._repr_mimebundle_()[0]["image/png"]
