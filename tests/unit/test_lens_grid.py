"""The lens grid sends what the lens says, keeps pins that still exist, and says what it expects."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, HookError, InputError
from nbtools.views.base import source

HOSTILE = ["<bos>", "</script><script>x", '<img src=x onerror="y">', "\n", " ", "𝕏", "ا", "$a_b$", "日本"]
LAYERS, POSITIONS, RANKS, FOLLOWED = [-1, 3, 4, 7], 5, 3, 2
TOKENS = ["The", " cat", " sat", "\n", "<s>"]


def lens_of(
    layers: list[int] = LAYERS, tokens: list[str] = TOKENS, vocabulary: list[str] | None = None, seed: int = 0
) -> xr.Dataset:
    """Make a lens in which no two sizes are equal; every other position follows one token fewer."""
    rng = np.random.default_rng(seed)
    words = np.array(vocabulary or [f"w{number}" for number in range(40)], dtype=object)
    shape = len(layers), len(tokens)
    ids = rng.integers(0, len(words), (*shape, RANKS))
    probability = -np.sort(-rng.random((*shape, RANKS))) / RANKS
    followed_id = np.stack([ids[-1, :, 0], (ids[-1, :, 0] + 1) % len(words)], -1).astype(float)
    followed_id[1::2, 1] = np.nan
    there = np.isfinite(followed_id)
    followed = np.where(there, words[np.nan_to_num(followed_id).astype(int)], "")
    shares = np.where(there, rng.random((len(layers), *followed_id.shape)), np.nan)
    ranks = np.where(there, rng.integers(1, 50000, shares.shape), np.nan)
    ranked, follow = ("layer", "position", "rank"), ("position", "follow")
    variables = {
        "token": (ranked, words[ids]),
        "token_id": (ranked, ids),
        "probability": (ranked, probability.astype(np.float32)),
        "followed": (follow, followed),
        "followed_id": (follow, followed_id),
        "followed_probability": (("layer", *follow), shares.astype(np.float32)),
        "followed_rank": (("layer", *follow), ranks.astype(np.float32)),
    }
    text = np.array(tokens, dtype=object)
    coords = {"layer": layers, "position": range(len(tokens)), "position_token": ("position", text)}
    return xr.Dataset(variables, coords=coords)


@pytest.fixture
def lens() -> xr.Dataset:
    return lens_of()


def read(frame: dict, name: str, dtype: type, *shape: int) -> np.ndarray:
    return np.frombuffer(frame[name], dtype).reshape(shape)


def test_what_is_sent_stands_for_the_lens(lens):
    frame = views.lens_grid(lens)._frame
    assert (frame["layers"], frame["positions"], frame["tokens"]) == (LAYERS, list(range(POSITIONS)), TOKENS)
    texts = np.array(frame["texts"], dtype=object)
    shape = len(LAYERS), POSITIONS, RANKS
    np.testing.assert_array_equal(texts[read(frame, "top", np.uint16, *shape)], lens.token)
    np.testing.assert_allclose(read(frame, "probability", np.float16, *shape), lens.probability, rtol=1e-3)
    there = np.isfinite(lens.followed_id.values)
    assert read(frame, "counts", np.uint16, POSITIONS).tolist() == there.sum(1).tolist() == [2, 1, 2, 1, 2]
    np.testing.assert_array_equal(texts[read(frame, "followed", np.uint16, -1)], lens.followed.values[there])
    shares, ranks = lens.followed_probability.values[:, there], lens.followed_rank.values[:, there]
    np.testing.assert_allclose(read(frame, "followed_probability", np.float16, *shares.shape), shares, rtol=1e-3)
    np.testing.assert_array_equal(read(frame, "followed_rank", np.uint16, *ranks.shape), ranks)
    assert frame["last_rank"] == ranks.max()


def test_each_distinct_token_is_sent_once_and_two_that_are_written_alike_stay_apart():
    frame = views.lens_grid(lens_of(vocabulary=["a", "b", "a", "c"]))._frame
    assert sorted(frame["texts"]) == ["a", "a", "b", "c"]


def test_ranks_beyond_two_bytes_take_four(lens):
    lens["followed_rank"] = lens.followed_rank * 5
    frame = views.lens_grid(lens)._frame
    there = np.isfinite(lens.followed_id.values)
    expected = lens.followed_rank.values[:, there]
    assert expected.max() > np.iinfo(np.uint16).max
    np.testing.assert_array_equal(read(frame, "followed_rank", np.uint32, *expected.shape), expected)


def test_layers_ascend_and_dimensions_may_come_in_any_order(lens):
    mixed = lens.isel(layer=[2, 0, 3, 1]).transpose("rank", "follow", "position", "layer")
    assert views.lens_grid(mixed)._frame == views.lens_grid(lens)._frame


def test_a_part_keeps_the_names_of_its_layers_and_positions(lens):
    view = views.lens_grid(lens.sel(layer=[3, 7]).isel(position=slice(2, 4)), selected=(7, 3))
    assert (view._frame["layers"], view._frame["positions"], view._frame["tokens"]) == ([3, 7], [2, 3], [" sat", "\n"])
    assert repr(view) == "LensGrid(layers=2, positions=2, layer=7, position=3)"


def test_without_names_positions_are_counted(lens):
    frame = views.lens_grid(lens.drop_vars(["layer", "position", "position_token"]))._frame
    assert (frame["layers"], frame["tokens"]) == ([0, 1, 2, 3], ["0", "1", "2", "3", "4"])


def test_pins_are_made_and_read_from_python(lens):
    view = views.lens_grid(lens, selected=(7, 2))
    assert (view.layer, view.position) == (7, 2)
    view.select(-1)
    assert (view.layer, view.position) == (-1, None)
    view.select(position=np.int64(4))
    assert (view.layer, view.position) == (None, 4)
    view.layer = 3
    assert repr(view) == "LensGrid(layers=4, positions=5, layer=3, position=4)"
    view.select()
    assert (view.layer, view.position) == (None, None)


def test_showing_another_lens_keeps_the_pins_that_still_exist(lens):
    view = views.lens_grid(lens, selected=(7, 4))
    view.show(lens_of(seed=1))
    assert (view.layer, view.position) == (7, 4)
    view.show(lens_of(tokens=TOKENS[:3]))
    assert (view.layer, view.position) == (7, None)
    view.show(lens_of(layers=[1, 2]))
    assert (view.layer, view.position) == (None, None)


def test_the_colour_range_is_that_of_a_probability_unless_another_is_chosen(lens):
    top = lens.probability.isel(rank=0)
    for options, expected in (({}, (0, 1)), ({"vmax": 0.5}, (0, 0.5)), ({"vmin": None, "vmax": None}, None)):
        frame = views.lens_grid(lens, **options)._frame
        assert (frame["vmin"], frame["vmax"]) == pytest.approx(expected or (float(top.min()), float(top.max())))
    view = views.lens_grid(lens)
    view.rescale(0, 0.25)
    assert (view._frame["vmax"], view._frame["layers"]) == (0.25, LAYERS)


def test_a_pinned_position_is_pinned_in_a_linked_strip_and_back(lens):
    view, strip = views.lens_grid(lens), views.token_strip(TOKENS, range(POSITIONS))
    linked = views.link(view, strip)
    assert linked.dimensions == ("position",)
    view.select(7, 3)
    assert strip.selected == 3
    strip.selected = 1
    assert (view.layer, view.position) == (7, 1)
    strip.selected = None
    assert (view.layer, view.position) == (7, None)


def test_two_lenses_are_compared_on_one_scale_and_pinned_together(lens):
    pair = views.compare(views.lens_grid(lens, vmax=0.5), views.lens_grid(lens_of(seed=1)))
    one, other = pair.rows[0]
    one.select(4, 2)
    assert (other.layer, other.position, one._scale.vmax) == (4, 2, 1)


def drop(name: str):
    return lambda lens: lens.drop_vars(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lens: np.ones((2, 3)), "the Dataset that nb.measures.logit_lens gives, got ndarray"),
        (lambda lens: lens.probability, "got DataArray"),
        (lambda lens: None, "got NoneType"),
        (drop("followed_rank"), "no variable 'followed_rank'"),
        (drop("token_id"), "no variable 'token_id'"),
        (lambda lens: lens.isel(rank=0), r"'token' with dimensions \(layer, position, rank\), got \(layer, position\)"),
        (lambda lens: lens.sel(layer=3), r"choose with lists, such as lens\.sel\(layer=\[5\]\)"),
        (lambda lens: lens.isel(follow=0), r"'followed' with dimensions \(position, follow\)"),
        (lambda lens: lens.where(lens.probability > 0.1), r"'followed' with dimensions"),
        (lambda lens: lens.isel(position=slice(0)), "at least one layer, position"),
        (lambda lens: lens.isel(layer=[1, 1, 2]), "each layer once, layer 3 is there 2 times"),
        (lambda lens: lens.assign(probability=lens.probability - 1), "'probability' from 0 to 1, got -"),
        (lambda lens: lens.assign(followed_rank=lens.followed_rank * 0), "'followed_rank' from 1 to inf, got 0"),
        (lambda lens: lens.assign(probability=lens.token), "expected numbers"),
        (lambda lens: lens.assign(followed_id=lens.followed_id.where(lens.position > 0)), "followed at each position"),
    ],
)
def test_a_bad_lens_is_explained_and_leaves_the_view_as_it_was(lens, change, sentence):
    view = views.lens_grid(lens, selected=(7, 4))
    frame = view._frame
    with pytest.raises(ArrayError, match=sentence):
        view.show(change(lens))
    assert view._frame is frame
    assert (view.layer, view.position) == (7, 4)


def test_a_lens_that_is_too_large_names_what_to_choose():
    with pytest.raises(ArrayError, match=r"more than 4 MB: choose fewer with logit_lens\(…, layers="):
        views.lens_grid(lens_of(layers=list(range(60)), tokens=["a"] * 4000))


@pytest.mark.parametrize(
    ("selected", "error", "sentence"),
    [
        ((5, 0), HookError, r"layer 5 is not in this view: expected -1, 3, 4, 7 \(-1 is the embedding\), or None"),
        ((7, 5), InputError, "position 5 is not in this view: expected 0 to 4, or None"),
        ((7, -1), InputError, "position -1 is not in this view"),
        ((None, 1.5), InputError, "position 1.5 is not"),
        (7, InputError, r"a layer and a position, such as selected=\(23, 4\), got 7"),
        ((1, 2, 3), InputError, r"got \(1, 2, 3\)"),
        (("a", 0), HookError, "layer a is not"),
    ],
)
def test_a_wrong_selection_is_explained(lens, selected, error, sentence):
    with pytest.raises(error, match=sentence):
        views.lens_grid(lens, selected=selected)


def test_refused_pins_and_ranges_leave_the_view_as_it_was(lens):
    view = views.lens_grid(lens, selected=(7, 4))
    frame = view._frame
    for change in (
        lambda: setattr(view, "layer", 5),
        lambda: setattr(view, "position", 99),
        lambda: view.select(3, 99),
        lambda: view.select(99, 3),
        lambda: view.show(lens, cmap="viridi"),
        lambda: view.show(lens, vmin=1, vmax=0),
        lambda: view.rescale(1, 0),
    ):
        with pytest.raises(InputError):
            change()
    with pytest.raises(traitlets.TraitError):
        view.layer = "x"
    assert (view.layer, view.position) == (7, 4)
    assert view._frame is frame


def test_a_view_that_shows_nothing_yet_pins_nothing():
    with pytest.raises(HookError, match="nothing before show"):
        views.LensGrid().layer = 3
    assert repr(views.LensGrid()) == "LensGrid(layers=0, positions=0, layer=None, position=None)"


def test_undefined_numbers_are_sent_as_undefined_and_drawn(lens):
    lens["probability"] = lens.probability.where(lens.layer != 4)
    lens["token"] = lens.token.where(lens.layer != 4)
    lens["token_id"] = lens.token_id.where(lens.layer != 4)
    lens["followed_rank"] = lens.followed_rank.where(lens.layer != 4)
    frame = views.lens_grid(lens)._frame
    assert np.isnan(read(frame, "probability", np.float16, len(LAYERS), -1)[2]).all()
    assert frame["texts"][read(frame, "top", np.uint16, len(LAYERS), -1)[2, 0]] == ""
    there = np.isfinite(lens.followed_id.values).sum()
    assert not read(frame, "followed_rank", np.uint16, len(LAYERS), there)[2].any()
    assert views.lens_grid(lens, selected=(4, 1))._repr_mimebundle_()[0]["image/png"]


def test_hostile_tokens_are_sent_and_drawn_as_they_are():
    view = views.lens_grid(lens_of(tokens=HOSTILE, vocabulary=HOSTILE), selected=(7, 2))
    assert view._frame["tokens"] == HOSTILE
    assert set(view._frame["texts"]) <= set(HOSTILE)
    assert view._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("selected", [None, (7, 2), (None, 2), (7, None), (-1, 0)])
def test_the_picture_keeps_the_pin_and_is_the_same_each_time(lens, selected):
    one, other = (views.lens_grid(lens, selected=selected)._repr_mimebundle_()[0] for _ in range(2))
    assert one["text/plain"] == repr(views.lens_grid(lens, selected=selected))
    assert one["image/png"] == other["image/png"]
    assert len(one["image/png"]) < 40_000


def test_what_is_pinned_shows_in_the_picture(lens):
    pins = [None, (7, 2), (3, 2), (None, 2), (7, None), (7, 3)]
    pictures = [views.lens_grid(lens, selected=pin)._repr_mimebundle_()[0]["image/png"] for pin in pins]
    assert len(set(pictures)) == len(pins)


def texts_of(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_picture_draws_the_tokens_and_for_what_is_pinned_its_path(lens):
    plain, pinned = views.lens_grid(lens).figure(), views.lens_grid(lens, selected=(7, 2)).figure()
    top = lens.token.isel(rank=0).values.ravel().tolist()
    assert sorted(texts_of(plain)[: len(top)]) == sorted(top)
    assert len(pinned.axes) - len(plain.axes) == 2
    axes = next(axes for axes in pinned.axes if axes.get_xlabel() == "probability")
    line = axes.lines[0].get_xdata()
    np.testing.assert_allclose(line, lens.followed_probability.isel(position=2, follow=0))
    ranks = next(axes for axes in pinned.axes if axes.get_xlabel() == "rank")
    np.testing.assert_array_equal(ranks.lines[0].get_xdata(), lens.followed_rank.isel(position=2, follow=0))
    assert ranks.get_xscale() == "log"
    assert ranks.xaxis_inverted()  # the first rank lies at the right, as a high probability does


def test_the_picture_of_a_long_prompt_shows_a_window_around_what_is_pinned():
    lens = lens_of(tokens=[f"t{n}" for n in range(60)])
    names = {}
    for position in (None, 0, 30, 59):
        axes = views.lens_grid(lens, selected=(7, position)).figure().axes[0]
        shown = [label.get_text().split("\n")[1] for label in axes.get_xticklabels()]
        names[position] = shown[0], shown[-1]
    assert names == {None: ("46", "59"), 0: ("0", "13"), 30: ("23", "36"), 59: ("46", "59")}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(lens, tmp_path, suffix):
    assert views.lens_grid(lens, selected=(7, 2)).save(tmp_path / f"lens{suffix}").stat().st_size > 1000


def test_a_page_without_a_kernel_holds_all_numbers_and_names_no_other_place(lens, tmp_path):
    view = views.lens_grid(lens, selected=(7, 2), title="Lens")
    page = view.save(tmp_path / "lens.html").read_text(encoding="utf-8")
    packed = max(re.findall(r'atob\("([A-Za-z0-9+/=]+)"\)', page), key=len)
    everything = zlib.decompress(b64decode(packed), -15)
    for name in ("top", "probability", "followed", "followed_probability", "followed_rank"):
        assert view._frame[name] in everything
    assert not re.search(r"https?:|src=|href=", page)


def test_a_prompt_of_512_positions_is_stored_alive_in_the_notebook():
    lens = lens_of(layers=list(range(-1, 30)), tokens=["a"] * 512)
    bundle = views.lens_grid(lens)._repr_mimebundle_()[0]
    assert "<script>" in bundle["text/html"]
    assert len(bundle["text/html"]) < 1_100_000


def test_the_module_is_small():
    assert len(source("lens_grid").encode()) < 30_000
