"""Directions: what is sent stands for what was given, the slider stays among the shares, and bad input is explained."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.patching import spread
from nbtools.views.direction.parts import BINS, round_numbers
from nbtools.views.direction.reading import read_parts
from nbtools.views.written import number
from tests.unit.test_views import HOSTILE

PARTS = ["v", "row", "null"]
SHARES = [-1.0, 0.0, 0.5, 1.0, 2.0]


def curves_of(parts: list[str] = PARTS, shares: list[float] = SHARES, **attrs: object) -> xr.DataArray:
    """Part p has at share s the value p + 1 - s."""
    values = np.arange(len(parts))[:, None] + 1.0 - np.array(shares)
    coords = {"part": parts, "share": shares}
    return xr.DataArray(values, dims=("part", "share"), coords=coords, name="logit_difference", attrs=attrs)


def spread_of(**attrs: object) -> xr.Dataset:
    mean = curves_of()
    return xr.Dataset({"mean": mean, "low": mean - 0.25, "high": mean + 0.5}, attrs=attrs)


def projections_of(parts: list[str] = PARTS, pairs: int = 40, seed: int = 0, **more: object) -> xr.Dataset:
    """Bases of class 0 lie around -2, those of class 1 around 2, and their sources on the other side."""
    rng, side = np.random.default_rng(seed), np.arange(pairs) % 2
    near = {name: rng.normal(0, 0.3, (len(parts), pairs)) for name in ("base", "source")}
    runs = {"base": near["base"] + 4 * side - 2, "source": near["source"] + 2 - 4 * side}
    variables = {name: (("part", "pair"), values) for name, values in runs.items()} | more
    coords = {"part": parts, "side": ("pair", side)}
    return xr.Dataset(variables, coords=coords, attrs={"sides": ("ABBA", "BABA")})


@pytest.fixture
def view() -> views.Direction:
    return views.direction(curves_of(units="nats"), projections_of())


def sent(view: views.Direction, name: str, kind: type = np.float32) -> np.ndarray:
    found = np.frombuffer(view._frame[name], kind)
    return found.reshape(len(view._frame["parts"]), -1) if kind is np.float32 and name != "shares" else found


def test_what_is_sent_stands_for_what_was_given(view):
    frame, given = view._frame, projections_of()
    np.testing.assert_array_equal(sent(view, "mean"), curves_of().astype("float32"))
    np.testing.assert_array_equal(sent(view, "shares"), np.float32(SHARES))
    for name in ("base", "source"):
        np.testing.assert_array_equal(sent(view, name), given[name].astype("float32"))
    np.testing.assert_array_equal(sent(view, "patched"), sent(view, "source"))
    np.testing.assert_array_equal(sent(view, "base_class", np.uint8), given.side)
    np.testing.assert_array_equal(sent(view, "source_class", np.uint8), 1 - given.side)
    assert (frame["parts"], frame["sides"], frame["ends"]) == (PARTS, ["ABBA", "BABA"], [-1.0, 2.0])
    assert (frame["label"], frame["band"], frame["low"], frame["high"]) == ("logit difference (nats)", "", b"", b"")


def test_a_spread_is_sent_with_what_it_is():
    view = views.direction(spread_of(level=0.9, long_name="gap"), projections_of())
    np.testing.assert_array_equal(sent(view, "low") + 0.25, sent(view, "mean"))
    np.testing.assert_array_equal(sent(view, "high") - 0.5, sent(view, "mean"))
    assert (view._frame["band"], view._frame["label"]) == ("90 % interval", "gap")
    assert views.direction(spread_of(), projections_of())._frame["band"] == "low to high"
    assert views.direction(spread_of()[["mean"]], projections_of())._frame["band"] == ""


def test_what_spread_gives_is_taken_as_it_is():
    effects = curves_of().expand_dims(prompt=3) + xr.DataArray([0.0, 0.5, 1.0], dims="prompt")
    effects.attrs["metric"] = "logit_difference"
    view = views.direction(spread(effects), projections_of())
    assert (view._frame["band"], view._frame["label"]) == ("95 % interval", "logit difference")
    assert (sent(view, "low") <= sent(view, "mean")).all()


def test_dimensions_shares_and_parts_may_come_in_any_order(view):
    curves, given = curves_of(units="nats"), projections_of()
    mixed = curves.isel(share=[3, 0, 4, 2, 1]).transpose("share", "part")
    assert views.direction(mixed, given.isel(part=[2, 0, 1]).transpose("pair", "part"))._frame == view._frame
    turned = views.direction(curves.isel(part=[2, 0, 1]), given)
    assert turned._frame["parts"] == ["null", "v", "row"]
    np.testing.assert_array_equal(sent(turned, "base")[1], sent(view, "base")[0])


def test_the_class_of_a_source_and_where_a_patch_leads_may_be_given():
    side = np.zeros(40, int)
    given = projections_of().assign_coords(source_side=("pair", side))
    patched = (given.base + 10).transpose("pair", "part")
    view = views.direction(curves_of(), given.assign(patched=patched))
    np.testing.assert_array_equal(sent(view, "source_class", np.uint8), side)
    np.testing.assert_array_equal(sent(view, "patched"), (given.base + 10).astype("float32"))
    assert view._parts.outside(0, 1.0) == 1
    as_variable = views.direction(curves_of(), projections_of(source_side=("pair", side)))
    assert as_variable._frame["source_class"] == view._frame["source_class"]


def test_names_that_are_not_given_are_plain():
    given = projections_of(["0", "1"]).drop_vars("part")
    del given.attrs["sides"]
    curves = xr.DataArray(np.ones((2, 2)), dims=("part", "share"), coords={"share": [0, 1]})
    frame = views.direction(curves, given)._frame
    assert (frame["parts"], frame["sides"], frame["label"]) == (
        ["0", "1"],
        ["class 0", "class 1"],
        "logit difference",
    )


def test_one_axis_holds_all_curves_and_0(view):
    frame = view._frame
    assert (frame["vmin"], frame["vmax"], frame["value_ticks"]) == (-1, 4, [0, 2, 4])
    assert frame["share_ticks"] == [-1, 0, 1, 2]
    assert views.direction(spread_of(), projections_of())._frame["vmax"] == 4.5
    flat = views.direction(curves_of() * 0, projections_of())._frame
    assert (flat["vmin"], flat["vmax"]) == (0, 1)


def test_round_numbers_lie_on_their_axis():
    assert round_numbers(-1, 2, 4) == [-1, 0, 1, 2]
    assert round_numbers(0.0, 0.1, 4) == [0, 0.05, 0.1]
    for low, high in ((-14.3, 30.1), (1e-6, 5e-6), (-3e5, 2e5)):
        assert all(low <= tick <= high for tick in round_numbers(low, high, 5))


def test_bins_are_fixed_over_all_that_the_slider_reaches(view):
    parts = view._parts
    low, high = parts.reach[0]
    moved = np.stack([parts.moved(0, share) for share in np.linspace(-1, 2, 31)])
    assert (low, high) == (moved.min(), moved.max())
    assert parts.limits[0] == (min(sent(view, "base")[0].min(), sent(view, "source")[0].min()), *parts.limits[0][1:])
    for share in (-1, 0.3, 2):
        bars = parts.patched_bars(0, share)
        assert [len(bar) for bar in bars] == [BINS, BINS]
        np.testing.assert_allclose([bar.sum() for bar in bars], 1)
        assert max(bar.max() for bar in bars) <= 1


def test_at_0_the_patched_activations_are_the_base_and_at_1_the_source(view):
    parts = view._parts
    np.testing.assert_array_equal(parts.moved(1, 0.0), sent(view, "base")[1])
    np.testing.assert_allclose(parts.moved(1, 1.0), sent(view, "source")[1], rtol=1e-6)
    assert parts.outside(1, 0.0) == 0
    assert parts.outside(1, 2.0) == 1


def test_the_answer_is_read_on_the_line_between_known_shares(view):
    parts = view._parts
    assert [parts.value(0, share) for share in (-1, -0.5, 0, 0.5, 1.5, 2)] == [2, 1.5, 1, 0.5, -0.5, -1]
    lacking = read_parts(curves_of().where(lambda array: array.share != 0), projections_of())
    assert lacking.value(0, 0.5) == 0.5
    assert np.isnan([lacking.value(0, share) for share in (0, 0.25, -0.5)]).all()


def test_the_share_can_be_set_and_stays_among_those_of_the_curves(view):
    assert repr(view) == "Direction(parts=['v', 'row', 'null'], pairs=40, share=1.0)"
    for share, kept in ((0.5, 0.5), (7, 2.0), (-7, -1.0), (float("inf"), 2.0), (0, 0.0)):
        view.share = share
        assert view.share == kept
    view.share = 0.1 + 0.2
    assert repr(view).endswith("share=0.3)")
    assert views.direction(curves_of(), projections_of(), share=9).share == 2


def test_other_curves_keep_the_share_if_they_hold_it(view):
    view.share = 1.5
    view.show(curves_of(shares=[-2.0, 0.0, 3.0]), projections_of())
    assert (view.share, view._frame["ends"]) == (1.5, [-2.0, 3.0])
    view.show(curves_of(shares=[0.0, 1.0]), projections_of())
    assert view.share == 1
    view.show(curves_of(["w"]), projections_of(["w"]))
    assert repr(view) == "Direction(parts=['w'], pairs=40, share=1.0)"


def test_bad_input_leaves_the_view_as_it_was(view):
    before, share = dict(view._frame), view.share
    for call in (
        lambda: view.show(curves_of(), projections_of(["v"])),
        lambda: view.show(curves_of(shares=[1.0, 2.0]), projections_of()),
        lambda: setattr(view, "share", float("nan")),
        lambda: view.rescale(2, 1),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(traitlets.TraitError):
        view.share = "full"
    assert (view._frame, view.share) == (before, share)


def test_two_linked_views_share_the_share(view):
    other = views.direction(curves_of(["w"], [0.0, 1.0, 3.0]), projections_of(["w"]), share=0)
    link = views.link(view, other)
    assert (other.share, link.dimensions) == (1, ("share",))
    other.share = 0.25
    assert view.share == 0.25
    view.share = 0
    assert other.share == 0
    other.share = 3  # each goes as far as its curves
    assert (view.share, other.share) == (2, 3)


def test_two_views_compared_have_one_axis(view):
    other = views.direction(curves_of() * 10, projections_of())
    pair = views.compare(view, other, titles=["clean", "trained"])
    assert (view._frame["vmax"], view._frame["value_ticks"]) == (40, other._frame["value_ticks"])
    other.show(curves_of(), projections_of())
    assert view._frame["vmax"] == other._frame["vmax"] == 4
    assert pair._repr_mimebundle_()["image/png"]


def test_the_axis_can_be_chosen_and_stays_for_what_is_shown_next(view):
    view.rescale(-1, 1)
    view.show(curves_of(), projections_of())
    assert (view._frame["vmin"], view._frame["vmax"], "lut" in view._frame) == (-1, 1, False)
    view.rescale()
    assert view._frame["vmax"] == 4


def test_undefined_values_are_sent_as_undefined_and_are_no_projections():
    given = projections_of()
    lost = given.assign(base=given.base.where(given.pair > 3), source=given.source.where(given.pair > 3))
    view = views.direction(curves_of().where(lambda array: array.share < 2), lost)
    assert np.isnan(sent(view, "mean")[:, -1]).all()
    assert view._frame["plots"] == views.direction(curves_of(), given.isel(pair=slice(4, None)))._frame["plots"]
    nothing = views.direction(curves_of() * np.nan, given * np.nan)
    assert nothing._frame["plots"][0]["limits"] is None
    assert np.isnan(nothing._parts.outside(0, 1.0))
    for shown in (view, nothing):
        assert shown._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


def test_projections_that_do_not_move_are_shown():
    given = projections_of() * 0 + 3
    frame = views.direction(curves_of(), given.assign_coords(side=("pair", [0, 1] * 20)))._frame
    assert (frame["plots"][0]["reach"], frame["plots"][0]["peak"]) == ((2.5, 3.5), 1.0)


def test_half_floats_and_thousands_of_pairs_are_taken():
    view = views.direction(curves_of().astype("float16"), projections_of(pairs=8000))
    assert view._parts.pairs == 8000
    assert view._weight() < 400_000


def without(name: str) -> xr.Dataset:
    return projections_of().drop_vars(name)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: views.direction([[1, 2]], projections_of()), r"a DataArray \(part, share\), or a Dataset .* got list"),
        (lambda: views.direction(spread_of()[["mean", "low"]], projections_of()), "both low and high .* got mean, low"),
        (lambda: views.direction(spread_of()[["low"]], projections_of()), "expected curves with mean, .* got low"),
        (lambda: views.direction(curves_of()[0], projections_of()), r"dimension part, got \(share\): .*expand_dims"),
        (
            lambda: views.direction(curves_of().expand_dims(prompt=2), projections_of()),
            r"part and share, got \(prompt, part, share\): choose with .sel\(prompt=…\), or summarise",
        ),
        (lambda: views.direction(curves_of()[:, 0], projections_of()), r"dimension share .*, got \(part\) with part"),
        (lambda: views.direction(curves_of().drop_vars("share"), projections_of()), "its coordinate.*assign_coords"),
        (lambda: views.direction(curves_of(shares=[0.0]), projections_of()), "two or more different shares, .* got 0"),
        (lambda: views.direction(curves_of(shares=[0.5, 1]), projections_of()), "the base as it is, .* got 0.5, 1"),
        (lambda: views.direction(curves_of(shares=[0.0, 1, 1]), projections_of()), "different shares"),
        (lambda: views.direction(curves_of(shares=[0.0, np.nan]), projections_of()), "different shares"),
        (lambda: views.direction(curves_of(["v", "v"]), projections_of()), "each part of the curves once, 'v'"),
        (lambda: views.direction(curves_of(list("abcde")), projections_of()), r"at most 4 parts, got 5: .*sel\(part="),
        (lambda: views.direction(curves_of(shares=list(np.linspace(0, 1, 401))), projections_of()), "most 400 shares"),
        (lambda: views.direction(curves_of() / 0, projections_of()), r"curves \(mean\) as one finite number.*infinity"),
        (lambda: views.direction(curves_of(), curves_of()), r"a Dataset \(part, pair\) .* got DataArray"),
        (lambda: views.direction(curves_of(), without("source")), "variables base and source, got base"),
        (lambda: views.direction(curves_of(), projections_of(["v", "w"])), "v, row, null, got v, w: choose with"),
        (
            lambda: views.direction(curves_of(), projections_of().assign(base=curves_of())),
            r"projections \(base\) with dimensions part and pair, got \(part, share\)",
        ),
        (lambda: views.direction(curves_of(), projections_of(pairs=0)), r"got shape \(3, 0\)"),
        (lambda: views.direction(curves_of(), projections_of() / 0), r"projections \(base\) .* got infinity"),
        (lambda: views.direction(curves_of(), without("side")), r"side, the class of each base: \.assign_coords"),
        (
            lambda: views.direction(curves_of(), projections_of().assign_coords(side=("pair", [2] * 40))),
            r"expected side as 0 or 1 for each of 40 pairs, .* got \[2\]",
        ),
        (
            lambda: views.direction(curves_of(), projections_of(source_side=("part", [0, 1, 0]))),
            r"expected source_side as 0 or 1 .* got shape \(3,\)",
        ),
        (lambda: views.direction(curves_of(), projections_of().assign_attrs(sides="AB")), "of both classes.*'AB'"),
        (lambda: views.direction(curves_of(), projections_of(pairs=200_000)), r"than 4 MB: .*isel\(pair="),
    ],
)  # fmt: skip
def test_bad_input_is_explained(call, sentence):
    with pytest.raises(ArrayError, match=sentence):
        call()


def test_a_share_that_is_no_number_and_an_unknown_option_are_refused():
    with pytest.raises(InputError, match=r"expected a share of the way, .* got nan"):
        views.direction(curves_of(), projections_of(), share=float("nan"))
    with pytest.raises(OptionError, match=r"direction has no option 'shares': .* did you mean 'share'"):
        views.direction(curves_of(), projections_of(), shares=1)


def test_hostile_names_are_drawn_not_interpreted():
    names = [*HOSTILE[:3], "$a_b$"]
    given = projections_of(names).assign_attrs(sides=HOSTILE[3:5])
    data, _ = views.direction(curves_of(names, long_name=HOSTILE[2]), given, title=HOSTILE[1])._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1
    assert HOSTILE[1] not in data["text/html"]


def test_every_output_is_there_is_small_and_depends_on_the_data_alone():
    made = [views.direction(spread_of(level=0.95), projections_of(), title="parts") for _ in range(2)]
    one, other = (view._repr_mimebundle_()[0] for view in made)
    assert one["text/plain"] == "Direction(parts=['v', 'row', 'null'], pairs=40, share=1.0)"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 40_000
    made[0].share = 0
    assert made[0]._repr_mimebundle_()[0]["image/png"] != one["image/png"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(view, tmp_path, suffix):
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def texts_in(view: views.Direction) -> list[str]:
    axes = view.figure().axes
    labels = [label.get_text() for part in axes for label in (*part.get_xticklabels(), *part.get_yticklabels())]
    return [text.get_text() for part in axes for text in (*part.texts, part.xaxis.label)] + labels


def test_the_still_picture_says_what_the_page_says():
    view = views.direction(spread_of(level=0.95, long_name="gap", units="nats"), projections_of(), share=2)
    texts = texts_in(view)
    for text in ("v", "null", "gap (nats)", "projection on row", "share of the way", "natural", "patched", "−1"):
        assert text in texts
    for text in ("−1.00", "0.000", "1.00", "mean", "95 % interval", "ABBA", "BABA", "range of natural activations"):
        assert text in texts
    assert texts.count("100 % outside") == 3
    view.share = 0
    assert "100 % outside" not in texts_in(view)
    assert "undefined" in texts_in(views.direction(curves_of() * np.nan, projections_of()))


def test_numbers_are_written_as_the_page_writes_them():
    values = [0, 0.001, 0.00099, -0.5, 1, -9.5, 10, 100, 100000]
    written = ["0.000", "0.001", "9.90e−4", "−0.500", "1.00", "−9.50", "10.0", "100", "1.00e+5"]
    assert [number(value) for value in values] == written


def test_a_view_that_shows_nothing_yet_has_a_plain_repr():
    assert repr(views.Direction()) == "Direction(parts=[], pairs=0, share=1.0)"


@pytest.mark.model
def test_moving_neurons_along_what_nothing_reads_changes_no_answer(model):
    from nbtools.patching import Mediator, compare_patches, mean_direction, reader_weights, split
    from nbtools.tasks import ioi_orders

    pairs = ioi_orders(model, pairs=6, template=0)
    mediator = Mediator(model, pairs, "neurons", layer=20)
    basis = mean_direction(mediator).basis
    parts = {
        name: part / part.norm()
        for name, part in zip(PARTS, (basis, *split(basis, reader_weights(mediator))), strict=True)
    }
    shares, way, tables = [0.0, 1.0], mediator.source - mediator.base, []
    for part in parts.values():
        patches = {f"{share}": mediator.base + share * (way @ part) @ part.T for share in shares}
        tables.append(compare_patches(mediator, patches, draws=2).logit_difference.values[1:])
    along = {
        run: (("part", "pair"), np.stack([(getattr(mediator, run) @ part)[:, 0] for part in parts.values()]))
        for run in ("base", "source")
    }
    projections = xr.Dataset(along, coords={"part": PARTS, "side": ("pair", pairs.classes.numpy())})
    curves = xr.DataArray(np.stack(tables), dims=("part", "share"), coords={"part": PARTS, "share": shares})
    view = views.direction(curves, projections)
    moved = np.abs(np.diff(sent(view, "mean"))[:, 0])
    assert moved[2] < 1e-3 < moved[1]
    assert view._parts.outside(0, 1.0) == 0
