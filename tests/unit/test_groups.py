"""Linked views pin the same things, compared views share one scale, and a page without a kernel holds it all."""

from __future__ import annotations

import base64
import gc
import json
import re
import zlib

import numpy as np
import pytest

from nbtools import views
from nbtools.errors import ArrayError, InputError, OptionError
from nbtools.views.group import links_between
from tests.unit.test_views import HOSTILE


def grid(scale: float = 1.0, **options):
    return views.head_grid(scale * np.arange(6.0).reshape(2, 3), **options)


def attention(heads: int = 3, tokens: int = 4, **options):
    return views.attention(np.tril(np.ones((2, heads, tokens, tokens))), **options)


def unpacked(html: str) -> tuple[dict, bytes]:
    """Read back what the page's own script reads."""
    packed = zlib.decompress(base64.b64decode(re.search(r'atob\("([^"]+)"\)', html)[1]), -15)
    start = 4 + int.from_bytes(packed[:4], "little")
    return json.loads(packed[4:start]), packed[start:]


def test_what_is_pinned_in_one_view_is_pinned_in_the_other():
    strip, pattern = views.token_strip(list("abcd"), range(4)), attention()
    assert repr(views.link(strip, pattern)) == "Link(TokenStrip ↔ Attention, position)"
    strip.selected = 2
    assert pattern.query == 2
    pattern.query = None
    assert strip.selected is None


def test_a_list_of_heads_and_a_single_head_understand_each_other():
    heads, pattern = grid(), attention()
    views.link(heads, pattern)
    assert pattern.head == "0.0"
    heads.selected = ["1.2", "1.1"]
    assert pattern.head == "1.1"
    assert heads.selected == ["1.2", "1.1"]  # the answer does not undo the question
    pattern.head = "0.1"
    assert heads.selected == ["0.1"]
    heads.selected = []
    assert pattern.head == "0.1"  # a map always has a head on show


def test_a_link_begins_with_what_the_first_view_has_pinned():
    one, other = grid(selected=["1.0"]), grid()
    views.link(one, other)
    assert other.selected == ["1.0"]


def test_what_the_other_view_does_not_have_stays_unpinned_there():
    strip, pattern = views.token_strip(list("abcdef"), range(6)), attention()
    views.link(strip, pattern)
    strip.selected = 5
    assert pattern.query is None
    assert strip.selected == 5


def test_a_link_can_be_undone_and_goes_with_its_views():
    one, other = grid(), grid()
    made = views.link(one, other)
    made.unlink()
    one.selected = ["1.0"]
    assert other.selected == []
    assert links_between([one, other]) == []
    views.link(one, other)
    del made, one, other
    gc.collect()


def test_a_link_without_a_shared_dimension_says_what_each_view_pins():
    with pytest.raises(InputError, match="TokenStrip pins position, HeadGrid pins head"):
        views.link(views.token_strip(["a"], [1]), grid())
    with pytest.raises(InputError, match="cannot link on layer: HeadGrid pins head"):
        views.link(grid(), grid(), on="layer")


def test_compared_views_share_selection_and_scale_and_keep_sharing_them():
    one, other = grid(), grid(3.0)
    pair = views.compare(one, other, titles=["clean", "corrupted"])
    assert (one._frame["vmin"], one._frame["vmax"]) == (other._frame["vmin"], other._frame["vmax"]) == (0, 15)
    one.selected = ["1.2"]
    assert other.selected == ["1.2"]
    assert (one.title, other.title) == ("clean", "corrupted")
    other.show(np.full((2, 3), 40.0) * [0, 1, 2])
    assert (one._frame["vmax"], other._frame["vmax"]) == (80, 80)
    other.show(np.ones((2, 3)) * [0, 1, 2])
    assert (one._frame["vmax"], other._frame["vmax"]) == (5, 5)
    assert repr(pair).startswith("Compare(HeadGrid(")


def test_compared_attention_is_quantised_on_the_shared_scale():
    weak = views.attention(np.full((1, 2, 2), 0.25), vmax=0.5)
    views.compare(weak, views.attention(np.full((1, 2, 2), 1.0)))
    assert set(weak._pages["levels"]["0"]) == {64}
    assert weak._frame["vmax"] == 1


def test_views_of_different_kinds_are_not_compared():
    with pytest.raises(InputError, match="cannot compare HeadGrid with Attention"):
        views.compare(grid(), attention())
    with pytest.raises(InputError, match="expected two titles, got 1"):
        views.compare(grid(), grid(), titles=["one"])


def test_a_scale_can_be_set_and_given_back_to_the_data():
    view = grid()
    view.rescale(-1, 10)
    view.show(np.full((2, 3), 7.0))
    assert (view._frame["vmin"], view._frame["vmax"]) == (-1, 10)
    view.rescale()
    assert view._frame["vmax"] == 7
    with pytest.raises(InputError, match="vmin < vmax, got 3 and 2"):
        view.rescale(3, 2)


def test_a_group_leaves_one_picture_and_saves_in_every_format(tmp_path):
    group = views.Group([[views.token_strip(["a", "b"], [0, 1], title="above")], [grid(), attention()]])
    data = group._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == repr(group)
    for suffix in ("png", "svg", "pdf", "html"):
        assert group.save(tmp_path / f"group.{suffix}").stat().st_size > 1000
    assert "above" in (tmp_path / "group.svg").read_text()


def test_a_page_holds_modules_traits_numbers_and_links():
    heads, pattern = grid(selected=["1.2"], title="scores"), attention()
    views.link(heads, pattern)
    header, numbers = unpacked(views.Group([[heads, pattern]])._repr_mimebundle_()["text/html"])
    assert set(header["modules"]) == {"head_grid", "attention"}
    assert header["rows"] == [2]
    assert header["links"] == [[[0, "selected"], [1, "head"]]]
    state = header["views"][0]["state"]
    assert (state["selected"], state["title"]) == (["1.2"], "scores")
    start, length = state["_frame"]["values"]["$bytes"]
    np.testing.assert_array_equal(np.frombuffer(numbers[start : start + length], np.float32), np.arange(6))
    assert set(header["views"][1]["state"]["_pages"]["levels"]) == {"0", "1"}


def test_nothing_of_a_token_can_be_taken_for_markup():
    size = len(HOSTILE)
    for view in (views.token_strip(HOSTILE, range(size), title=HOSTILE[1]), views.attention(np.eye(size), HOSTILE)):
        html = view._repr_mimebundle_()[0]["text/html"]
        assert html.count("<script>") == html.count("</script>") == 1
        assert html.count("<img") == 1
        assert "onerror" not in html
        assert "http" not in html


def test_a_whole_page_fetches_nothing(tmp_path):
    text = grid().save(tmp_path / "view.html").read_text()
    assert "http" not in text
    assert " src=" not in text


def test_the_same_view_gives_the_same_page():
    assert grid()._repr_mimebundle_()[0]["text/html"] == grid()._repr_mimebundle_()[0]["text/html"]


def test_an_output_stays_below_a_megabyte_by_leaving_layers_out_and_a_file_has_them_all(tmp_path):
    rng = np.random.default_rng(0)
    noise = np.tril(rng.random((8, 12, 200, 200))).astype(np.float32)
    view = views.attention(noise, head="5.0", vmax=1)
    html = view._repr_mimebundle_()[0]["text/html"]
    assert len(html) < 1.1e6
    header, _ = unpacked(html)
    assert list(header["views"][0]["state"]["_pages"]["levels"]) == ["5"]
    header, _ = unpacked(view.save(tmp_path / "all.html").read_text())
    assert len(header["views"][0]["state"]["_pages"]["levels"]) == 8


def test_a_file_too_large_for_a_page_is_refused_with_the_knob(monkeypatch, tmp_path):
    monkeypatch.setattr("nbtools.views.page._MOST_IN_A_FILE", 1000)
    with pytest.raises(ArrayError, match=r"choose fewer with .*layers"):
        attention(tokens=40).save(tmp_path / "large.html")
    assert not (tmp_path / "large.html").exists()


@pytest.mark.parametrize("function", [views.token_strip, views.attention, views.head_grid, views.compare, views.link])
def test_an_unknown_option_lists_the_known_ones(function):
    with pytest.raises(OptionError, match=rf"^{function.__name__} has no option 'colour': expected any of ") as caught:
        function(None, None, colour="red") if function is not views.head_grid else function(None, colour="red")
    assert isinstance(caught.value, TypeError)


def test_a_misspelt_option_is_answered_with_its_neighbour():
    with pytest.raises(OptionError, match="did you mean 'selected'"):
        grid(selectd=["1.1"])
    with pytest.raises(OptionError, match="HeadGrid has no option 'colour'"):
        views.HeadGrid(colour="red")
