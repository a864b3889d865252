"""The landscape: what is sent stands for what was given, the step is one of the path, and bad input is explained."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.views.base import source
from tests.unit.test_views import HOSTILE

STEPS = [0, 10, 50, 100]


def bowl_of(names: tuple[str, str] = ("b", "a"), sizes: tuple[int, int] = (21, 31)) -> xr.DataArray:
    """a² + b², over b from −1 to 1 and a from −2 to 2."""
    b, a = (np.linspace(-end, end, size) for end, size in zip((1, 2), sizes, strict=True))
    return xr.DataArray(b[:, None] ** 2 + a**2, dict(zip(names, (b, a), strict=True)), names, name="loss_in_nats")


def path_of(names: tuple[str, str] = ("b", "a"), steps: list[int] = STEPS) -> xr.Dataset:
    """From the upper right to the middle."""
    left = np.linspace(1, 0, len(steps))
    columns = dict(zip(names, (("step", left), ("step", 2 * left)), strict=True))
    return xr.Dataset({**columns, "other": ("step", left)}, {"step": steps})


@pytest.fixture
def view() -> views.Landscape:
    return views.landscape(bowl_of(), path=path_of())


def sent(view: views.Landscape, name: str, kind: type = np.float32) -> np.ndarray:
    return np.frombuffer(view._frame[name], kind)


def test_what_is_sent_stands_for_what_was_given(view):
    frame = view._frame
    np.testing.assert_array_equal(sent(view, "values").reshape(21, 31), bowl_of().astype("float32"))
    assert (frame["names"], frame["ends"], frame["columns"]) == (["a", "b"], [(-2, 2), (-1, 1)], 31)
    assert frame["ticks"][1] == [(0, "−1"), (0.25, "−0.5"), (0.5, "0"), (0.75, "0.5"), (1, "1")]
    assert sent(view, "steps", np.int32).tolist() == STEPS
    np.testing.assert_array_equal(sent(view, "path").reshape(2, -1), np.float32([path_of().a, path_of().b]))
    assert (frame["label"], frame["vmin"], frame["vmax"]) == ("loss in nats", 0, 5)
    assert len(frame["lut"]) == 768


def test_lines_lie_where_the_values_are_theirs(view):
    points = sent(view, "lines", np.uint16).reshape(-1, 2) / 65535 * (4, 2) - (2, 1)
    ends = np.cumsum(sent(view, "counts", np.int32))
    levels = [(line**2).sum(-1) for line in np.split(points, ends[:-1])]
    assert ends[-1] == len(points)
    assert {round(float(level.mean()) * 2) for level in levels} == set(range(1, 10))  # 0.5 to 4.5
    assert all(np.ptp(level) < 0.05 for level in levels)


def test_the_numbers_on_lines_stand_apart_from_each_other_and_from_the_path(view):
    places = np.array([(x, y) for x, y, _ in view._frame["levels"]])
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(len(places))
    assert len(places) > 3
    assert apart.min() > 0.09
    way = np.stack([sent(view, "path").reshape(2, -1)[0] / 4 + 0.5, sent(view, "path").reshape(2, -1)[1] / 2 + 0.5], -1)
    assert np.linalg.norm(places[:, None] - way, axis=-1).min() > 0.09
    assert {text for *_, text in view._frame["levels"]} <= {f"{level:g}" for level in np.arange(0, 5.5, 0.5)}


def test_other_orders_and_another_kind_of_path_are_taken(view):
    turned = bowl_of().isel(a=slice(None, None, -1), b=slice(None, None, -1))
    assert views.landscape(turned, path=path_of().isel(step=[2, 0, 3, 1]))._frame == view._frame
    array = path_of()[["a", "b"]].to_dataarray("parameter")
    assert views.landscape(bowl_of(), path=array)._frame == view._frame
    assert views.landscape(bowl_of().T, path=path_of())._frame["names"] == ["b", "a"]
    assert views.landscape(bowl_of(), label="nats")._frame["label"] == "nats"


def test_the_step_can_be_set_and_is_always_one_of_the_path(view):
    assert repr(view) == "Landscape(over={'b': 21, 'a': 31}, steps=4, step=100)"
    for step, kept in ((60, 50), (-5, 0), (10**9, 100), (30, 10)):
        view.step = step
        assert view.step == kept
    assert views.landscape(bowl_of(), path=path_of(), step=9).step == 10
    assert repr(views.landscape(bowl_of())) == "Landscape(over={'b': 21, 'a': 31}, steps=0, step=0)"
    assert repr(views.Landscape()) == "Landscape(over={}, steps=0, step=0)"


def test_another_surface_is_shown_at_the_nearest_step(view):
    view.step = 50
    view.show(bowl_of(("c", "a")), path=path_of(("c", "a"), [0, 40, 80]))
    assert (view.step, view._frame["names"]) == (40, ["a", "c"])


def test_it_is_linked_with_a_scrubber(view):
    curves = views.scrubber(path_of(), step=10)
    views.link(curves, view)
    assert view.step == 10
    view.step = 50
    assert curves.step == 50


def test_the_range_can_be_chosen_and_is_shared_by_two_that_are_compared(view):
    chosen = views.landscape(bowl_of(), vmin=1, vmax=2, cmap="magma")
    assert (chosen._frame["vmin"], chosen._frame["vmax"]) == (1, 2)
    view.rescale(0, 1)
    assert {text for *_, text in view._frame["levels"]} <= {
        "0.1",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
        "0.6",
        "0.7",
        "0.8",
        "0.9",
        "1",
    }
    view.rescale()
    views.compare(view, views.landscape(bowl_of() * 2, path=path_of()))
    assert view._frame["vmax"] == 10


def test_bad_input_leaves_the_view_as_it_was(view):
    before, step = dict(view._frame), view.step
    for call in (
        lambda: view.show(bowl_of()[0]),
        lambda: view.show(bowl_of(), path=path_of().drop_vars("a")),
        lambda: view.show(bowl_of(), cmap="viridi"),
        lambda: view.rescale(2, 1),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(traitlets.TraitError):
        view.step = "last"
    assert (view._frame, view.step) == (before, step)


def test_what_is_not_known_has_no_line_and_a_constant_surface_none_at_all():
    holed = bowl_of()
    holed[8:13, 10:21] = np.nan
    view = views.landscape(holed)
    assert np.isnan(sent(view, "values")).sum() == 55
    assert len(sent(view, "lines", np.uint16)) < len(sent(views.landscape(bowl_of()), "lines", np.uint16))
    flat = views.landscape(bowl_of() * 0 + 0.3)
    assert (flat._frame["lines"], flat._frame["levels"], flat._frame["vmin"]) == (b"", [], 0)
    assert views.landscape(bowl_of() * np.nan)._frame["lines"] == b""
    for one in (view, flat, views.landscape(bowl_of() * np.nan)):
        assert one._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


def test_the_largest_surface_takes_little_room():
    rough = bowl_of(sizes=(128, 128))
    rough[:] = np.random.default_rng(0).random((128, 128))
    view = views.landscape(rough, path=path_of(steps=list(range(2000))))
    assert view._weight() < 1_000_000
    assert len(source("landscape").encode()) < 30_000


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: views.landscape(np.eye(3)), r"a DataArray over two parameters, got ndarray: .*\.sel\(…\)"),
        (lambda: views.landscape(bowl_of().expand_dims(c=2)), r"over two parameters, got \(c, b, a\)"),
        (lambda: views.landscape(bowl_of()[:1]), "expected 2 to 128 values of b, got 1"),
        (
            lambda: views.landscape(bowl_of(sizes=(21, 300))),
            r"expected 2 to 128 values of a, got 300: choose with .isel\(a=slice\(None, None, 3\)\)",
        ),
        (lambda: views.landscape(bowl_of().drop_vars("a")), r"numbers as the coordinate a: .assign_coords\(a="),
        (lambda: views.landscape(bowl_of().assign_coords(b=list("x" * 21))), "numbers as the coordinate b"),
        (
            lambda: views.landscape(bowl_of().assign_coords(a=np.geomspace(1, 10, 31))),
            r"expected a in even steps, got steps of 0.07.* to 0.7.*: .interp\(a=.*, or its logarithm",
        ),
        (lambda: views.landscape(bowl_of().assign_coords(a=np.zeros(31))), "in even steps, got steps of 0 to 0"),
        (lambda: views.landscape(bowl_of() / 0), "expected finite values, or NaN .*, got infinity"),
        (
            lambda: views.landscape(bowl_of(), path=path_of().drop_vars("b")),
            "a Dataset over step with b, the parameter of that name, got a Dataset with a, other",
        ),
        (lambda: views.landscape(bowl_of(), path=path_of().a), "over step with a, .* got a DataArray with step"),
        (lambda: views.landscape(bowl_of(), path=[1, 2]), "over step with a, .* got list"),
        (
            lambda: views.landscape(bowl_of(), path=path_of().expand_dims(seed=2)),
            r"over step with a, .* got a \(seed, step\)",
        ),
        (lambda: views.landscape(bowl_of(), path=path_of().drop_vars("step")), r"the coordinate step, .*assign_coords"),
        (
            lambda: views.landscape(bowl_of(), path=path_of(steps=list(range(4001)))),
            r"a path of 1 to 2000 steps, got 4001: choose with .isel\(step=slice\(None, None, 3\)\)",
        ),
        (lambda: views.landscape(bowl_of(), path=path_of(steps=[0, 1, 1])), "different whole numbers, 0 or more"),
        (lambda: views.landscape(bowl_of(), path=path_of() / 0), "the parameters of the path must be finite numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(call, sentence):
    with pytest.raises(ArrayError, match=sentence):
        call()


def test_a_misspelt_option_is_refused():
    with pytest.raises(OptionError, match=r"landscape has no option 'paths': .* did you mean 'path'"):
        views.landscape(bowl_of(), paths=path_of())


def test_hostile_names_are_drawn_not_interpreted():
    names = HOSTILE[1], HOSTILE[2]
    data, _ = views.landscape(bowl_of(names), path=path_of(names), title=HOSTILE[7])._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/html"].count("<script>") == 1


def test_every_output_is_there_is_small_and_depends_on_the_data_alone():
    made = [views.landscape(bowl_of(), path=path_of(), title="bowl") for _ in range(2)]
    one, other = (view._repr_mimebundle_()[0] for view in made)
    assert one["text/plain"] == "Landscape(over={'b': 21, 'a': 31}, steps=4, step=100)"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 60_000
    made[0].step = 0
    assert made[0]._repr_mimebundle_()[0]["image/png"] != one["image/png"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(view, tmp_path, suffix):
    assert view.save(tmp_path / f"view{suffix}").stat().st_size > 1000


def test_the_still_picture_says_what_the_page_says(view):
    view.step = 50
    figure = view.figure()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for text in ("a", "b", "step 50", " 5  loss in nats", *(level for *_, level in view._frame["levels"])):
        assert text in texts
    x, y = figure.axes[0].lines[-1].get_xydata()[0]
    np.testing.assert_allclose([x * 4 - 2, y * 2 - 1], [path_of().a[2], path_of().b[2]], atol=1e-6)
