"""Bars: what is sent stands for what was given, two runs meet token by token, and a pin stays with its token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import traitlets
import xarray as xr

from nbtools import measures, views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.views.bars.axis import axis_for, ticks_of
from nbtools.views.written import number

HOSTILE = ["<bos>", "</script><script>x", '<img src=x onerror="y">', "\n", " ", "𝕏", "ا", "$a_b$", "日本", "", "x#7"]


def run(texts: list[str], ids: list[int] | None, values: list[float], name: str | None = "next_token") -> xr.DataArray:
    coords = {"token": np.array(texts, dtype=object)}
    if ids is not None:
        coords["token_id"] = ("token", ids)
    return xr.DataArray(np.array(values, np.float32), dims="token", coords=coords, name=name)


@pytest.fixture
def eiffel() -> xr.DataArray:
    return run([" Paris", " Rome", "\n"], [6, 5, 9], [0.5, 0.25, 0.125])


@pytest.fixture
def colosseum() -> xr.DataArray:
    return run([" Rome", " Venice", "\n", " Nice"], [5, 8, 9, 2], [0.75, 0.0625, 0.03125, 0.0])


def sent(view: views.Bars) -> np.ndarray:
    frame = view._frame
    return np.frombuffer(frame["values"], np.float32).reshape(-1, len(frame["tokens"]))


def test_the_numbers_sent_are_those_given_token_by_token(eiffel):
    view = views.bars(eiffel)
    assert view._frame["tokens"] == [" Paris", " Rome", "\n"]
    assert view._frame["ids"] == [6, 5, 9]
    np.testing.assert_array_equal(sent(view), [[0.5, 0.25, 0.125]])
    assert (view._frame["label"], view._frame["names"]) == ("next token", [])
    assert view._frame["vmin"] == 0
    assert view._frame["vmax"] == 0.5


def test_two_runs_are_matched_by_id_in_the_order_of_the_first_then_of_the_second(eiffel, colosseum):
    view = views.bars(eiffel, colosseum)
    assert view._frame["tokens"] == [" Paris", " Rome", "\n", " Venice", " Nice"]
    nan = np.nan
    expected = [[0.5, 0.25, 0.125, nan, nan], [nan, 0.75, 0.03125, 0.0625, 0.0]]
    np.testing.assert_array_equal(sent(view), expected)
    assert view._frame["names"] == ["first", "second"]
    assert view._frame["vmax"] == 0.75


def test_what_a_run_lacks_is_undefined_and_what_it_gives_as_0_is_0(eiffel, colosseum):
    values = sent(views.bars(eiffel, colosseum))
    assert np.isnan(values).sum() == 3
    assert values[1, 4] == 0


def test_the_same_text_with_two_ids_is_two_tokens():
    one, other = run(["a", "b"], [1, 2], [0.5, 0.25]), run(["a"], [3], [0.75])
    view = views.bars(one, other)
    assert (view._frame["tokens"], view._frame["marks"]) == (["a", "b", "a"], ["#1", "", "#3"])
    np.testing.assert_array_equal(sent(view), [[0.5, 0.25, np.nan], [np.nan, np.nan, 0.75]])


def test_without_ids_on_both_sides_tokens_are_matched_by_text(eiffel):
    view = views.bars(eiffel, {" Rome": 1.0, " Nice": 2.0})
    assert view._frame["tokens"] == [" Paris", " Rome", "\n", " Nice"]
    assert view._frame["ids"] == []
    np.testing.assert_array_equal(sent(view)[1], [np.nan, 1, np.nan, 2])


def test_dicts_arrays_and_tensors_are_taken(eiffel):
    tensors = {" Paris": torch.tensor(0.5, dtype=torch.bfloat16), " Rome": np.float16(0.25), "\n": 0.125}
    for given in (tensors, eiffel.astype("float16"), eiffel.drop_vars("token_id")):
        np.testing.assert_array_equal(sent(views.bars(given)), [[0.5, 0.25, 0.125]])


def test_top_keeps_the_greatest_of_each_run_and_the_number_that_the_other_gives_to_it():
    texts, ids = ["a", "b", "c", "d"], [0, 1, 2, 3]
    view = views.bars(run(texts, ids, [0.1, 0.4, 0.3, 0.2]), run(texts, ids, [0.4, 0.3, 0.1, 0.2]), top=2)
    assert view._frame["tokens"] == ["b", "c", "a"]
    np.testing.assert_array_equal(sent(view), np.float32([[0.4, 0.3, 0.1], [0.3, 0.1, 0.4]]))


def test_top_of_signed_values_is_by_size_and_an_undefined_value_comes_last():
    values = {"a": 1.0, "b": float("nan"), "c": -3.0, "d": 2.0}
    assert views.bars(values, top=2)._frame["tokens"] == ["d", "a"]
    assert views.bars(values, top=2, signed=True)._frame["tokens"] == ["c", "d"]
    assert views.bars(values, top=9)._frame["tokens"] == ["d", "a", "c", "b"]


def test_the_axis_begins_at_0_or_is_symmetric_where_the_sign_matters():
    def ends(*values, signed=None, vmin=None, vmax=None):
        axis = axis_for(np.array(values), signed=signed, vmin=vmin, vmax=vmax, label="")
        return axis.vmin, axis.vmax

    assert ends(2.0, 3.0) == (0, 3)
    assert ends(-2.0, -3.0) == (-3, 0)
    assert ends(-1.0, 3.0) == ends(1.0, 3.0, signed=True) == (-3, 3)
    assert ends(-1.0, 3.0, signed=False) == (-1, 3)
    assert ends(0.0) == ends(np.nan) == (0, 1)
    assert ends(0.5, vmax=1) == (0, 1)
    assert ends(-1.0, 3.0, vmin=-9) == (-9, 3)


def test_ticks_are_round_lie_on_the_axis_and_have_0_among_them():
    for low, high in ((0, 0.664), (-3.2, 3.2), (-7, 0), (0, 1e-6), (-1, 2e5)):
        ticks = ticks_of(axis_for(np.array([low, high]), signed=False, vmin=None, vmax=None, label=""))
        assert 0 in ticks
        assert 2 <= len(ticks) <= 7
        assert all(low <= tick <= high and len(f"{tick:g}") < 8 for tick in ticks)


def test_a_pin_is_the_text_of_a_token_and_takes_its_id_only_where_it_must(eiffel):
    view = views.bars(eiffel, selected=" Rome")
    assert repr(view) == "Bars(tokens=3, runs=1, selected=' Rome')"
    view.selected = "\n#9"
    assert view.selected == "\n"
    twice = views.bars(run(["Paris", "Paris", "b#7"], [3, 4, 5], [1, 2, 3]), selected="Paris#4")
    assert twice.selected == "Paris#4"
    twice.selected = "b#7#5"
    with pytest.raises(InputError, match=r"'Paris' is not a token here: .* one of 'Paris#3', 'Paris#4'"):
        twice.selected = "Paris"
    assert twice.selected == "b#7#5"
    twice.selected = None


def test_showing_other_tokens_keeps_the_pin_on_the_same_token(eiffel, colosseum):
    view = views.bars(eiffel, selected=" Rome")
    view.show(colosseum, eiffel, names=["now", "before"])
    assert (view.selected, view._frame["tokens"][0]) == (" Rome", " Rome")
    view.show(run([" Rome", " Rome"], [4, 5], [1, 2]))
    assert view.selected == " Rome#5"
    view.show({" Rome": 1.0, " Paris": 2.0})
    assert view.selected == " Rome"
    view.show(run([" Rome", " Rome"], [4, 5], [1, 2]))
    assert view.selected is None  # which of the two cannot be known
    view.show(eiffel)
    view.selected = " Paris"
    view.show(run([" Nice", "other"], [2, 6], [1, 2]))
    assert view.selected is None  # the same id in another vocabulary


def test_bad_input_leaves_the_view_as_it_was(eiffel):
    view = views.bars(eiffel, selected=" Rome")
    before = dict(view._frame)
    for call in (
        lambda: view.show({}),
        lambda: view.show(eiffel, names=["a", "b"]),
        lambda: view.show(eiffel, vmin=1),
        lambda: view.rescale(0.5, 1),
        lambda: setattr(view, "selected", " Venice"),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(traitlets.TraitError):
        view.selected = 3
    assert view._frame == before
    assert view.selected == " Rome"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: views.bars([0.1, 0.2]), ArrayError, r"values as a DataArray \(token\) or a dict .*, got list"),
        (lambda: views.bars({"a": 1}, [0.1]), ArrayError, "expected other as"),
        (lambda: views.bars({}), ArrayError, r"for each token of values, got shape \(0,\)"),
        (lambda: views.bars({"a": "x"}), ArrayError, "expected numbers"),
        (lambda: views.bars({"a": [1.0]}), ArrayError, r"got shape \(1, 1\)"),
        (lambda: views.bars({"a": float("-inf")}), ArrayError, "finite number, or NaN, .* got infinity"),
        (lambda: views.bars(xr.DataArray([[1.0]], dims=("layer", "token"))), ArrayError, r"got \(layer, token\)"),
        (
            lambda: views.bars(xr.DataArray([1.0], dims="token")),
            ArrayError,
            "coordinate 'token', which holds the texts",
        ),
        (lambda: views.bars(run(["a", "a"], None, [1, 2])), ArrayError, "2 tokens of values have the text 'a'"),
        (lambda: views.bars(run(["a", "b"], [7, 7], [1, 2])), ArrayError, "2 tokens of values have the token_id 7"),
        (lambda: views.bars({"a": 1}, run(["a", "a"], [1, 2], [1, 2])), ArrayError, "2 tokens of other have the text"),
        (
            lambda: views.bars(run(["a"], [7], [1]), run(["b"], [7], [1])),
            ArrayError,
            "vocabularies differ: to match",
        ),
        (lambda: views.bars(dict.fromkeys(map(str, range(201)), 1.0)), ArrayError, "at most 200 .* got 201: .*top=10"),
        (lambda: views.bars({"a": 1}, top=0), InputError, "top must be at least 1, got 0"),
        (lambda: views.bars({"a": 1}, names="ab"), InputError, "expected 1 name, one for each run, got one text"),
        (lambda: views.bars({"a": 1}, {"a": 1}, names=["x"]), InputError, "expected 2 names, one for each run, got 1"),
        (lambda: views.bars({"a": 1}, vmin=0.5), InputError, "bars begin at 0: .*got vmin=0.5"),
        (lambda: views.bars({"a": 1}, vmin=0, vmax=0), InputError, "the axis is empty"),
        (lambda: views.bars({"a": 1}, vmax=float("nan")), InputError, "bars begin at 0"),
        (
            lambda: views.bars({"a": 1}, selected="b"),
            InputError,
            "'b' is not a token here: .* None or one of 'a'",
        ),
        (lambda: views.bars({"a": 1}, cmap="viridis"), OptionError, "bars has no option 'cmap': expected any of names"),
    ],
)
def test_bad_input_is_explained(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_as_many_rows_as_the_cap_allows_are_taken_and_all_of_a_vocabulary_with_top():
    assert len(views.bars(dict.fromkeys(map(str, range(200)), 1.0))._frame["tokens"]) == 200
    size = 50_000
    whole = run([str(token) for token in range(size)], list(range(size)), list(np.linspace(0, 1, size)))
    assert views.bars(whole, whole, top=3)._frame["tokens"] == ["49999", "49998", "49997"]


def test_hostile_tokens_are_drawn_not_interpreted():
    view = views.bars(dict.fromkeys(HOSTILE, 0.5), names=[HOSTILE[1]], selected=HOSTILE[1], title=HOSTILE[2])
    data, _ = view._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert view._frame["tokens"] == HOSTILE
    assert HOSTILE[1] not in data["text/html"]
    assert data["text/html"].count("<script>") == 1


def test_every_output_is_there_is_small_and_depends_on_the_data_alone(eiffel, colosseum):
    made = [views.bars(eiffel, colosseum, selected=" Rome", names=["Eiffel", "Colosseum"]) for _ in range(2)]
    one, other = (view._repr_mimebundle_()[0] for view in made)
    assert one["text/plain"] == "Bars(tokens=5, runs=2, selected=' Rome')"
    assert one["image/png"] == other["image/png"]
    assert one["text/html"] == other["text/html"]
    assert len(one["image/png"]) < 40_000
    free = views.bars(eiffel, colosseum, names=["Eiffel", "Colosseum"])._repr_mimebundle_()[0]
    assert free["image/png"] != one["image/png"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_it_is_saved_in_every_format(eiffel, colosseum, tmp_path, suffix):
    written = views.bars(eiffel, colosseum, title="next").save(tmp_path / f"view{suffix}")
    assert written.stat().st_size > 1000


def texts_in(view: views.Bars) -> list[str]:
    figure = view.figure()
    drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
    return drawn + [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_the_still_picture_says_what_the_page_says(eiffel, colosseum):
    texts = texts_in(views.bars(eiffel, colosseum, names=["Eiffel", "Colosseum"], vmax=0.5))
    for text in ("·Paris", "↵", "0.250", "» 0.750", "0.000", "Eiffel", "Colosseum", "next token"):
        assert text in texts
    assert texts.count("absent") == 3
    assert "Paris#3" in texts_in(views.bars(run(["Paris", "Paris"], [3, 4], [-1, 2])))
    assert "−1.00" in texts_in(views.bars({"a": -1.0}))
    assert "0.600" in texts_in(views.bars({"a": 0.6}, vmax=0.6))


def test_numbers_are_written_as_the_page_writes_them():
    values = [0, 0.001, 0.00099, -0.5, 1, -9.5, 10, 99.5, 100, 99999, 100000]
    written = ["0.000", "0.001", "9.90e−4", "−0.500", "1.00", "−9.50", "10.0", "99.5", "100", "99999", "1.00e+5"]
    assert [number(value) for value in values] == written


def test_the_axis_can_be_chosen_later_and_stays_for_what_is_shown_next(eiffel, colosseum):
    view = views.bars(eiffel)
    view.rescale(vmax=1)
    assert (view._frame["vmax"], view._frame["ticks"][-1]) == (1, 1)
    view.show(colosseum)
    assert view._frame["vmax"] == 1
    view.rescale()
    assert view._frame["vmax"] == 0.75
    np.testing.assert_array_equal(sent(view)[0], colosseum)


def test_two_views_compared_share_one_axis_and_the_token_pinned(eiffel, colosseum):
    one, other = views.bars(eiffel, selected=" Rome"), views.bars(colosseum)
    pair = views.compare(one, other, titles=["Eiffel", "Colosseum"])
    assert one._frame["vmax"] == other._frame["vmax"] == 0.75
    assert other.selected == " Rome"
    other.show({" Rome": -2.0})
    assert one._frame["vmin"] == -2
    assert one._frame["ticks"] == other._frame["ticks"]
    assert pair._repr_mimebundle_()["image/png"]


def test_a_link_names_a_token_by_its_id_where_one_of_the_views_needs_it(eiffel):
    one, other = views.bars(run([" Rome", " Rome"], [4, 5], [1, 2])), views.bars(eiffel)
    views.link(one, other)
    one.selected = " Rome#5"
    assert other.selected == " Rome"
    assert one.selected == " Rome#5"


def test_letting_go_in_one_view_lets_go_in_the_other(eiffel):
    one, other = views.bars(eiffel), views.bars(eiffel)
    views.link(one, other)
    one.selected = " Rome"
    one.selected = None
    assert other.selected is None


@pytest.mark.model
def test_what_a_model_expects_after_two_prompts_stands_side_by_side(model):
    one, other = (
        measures.next_token(model, f"The {place} is in the city of", top=None)
        for place in ("Eiffel Tower", "Colosseum")
    )
    view = views.bars(one, other, top=4)
    assert view._frame["tokens"][0] == " Paris"
    assert " Rome" in view._frame["tokens"]
    assert not np.isnan(sent(view)).any()
    np.testing.assert_array_equal(sent(view)[1], other.values[view._frame["ids"]])
