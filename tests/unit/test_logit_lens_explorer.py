"""The logit lens explorer shows what a fresh run gives for the prompt it names, and keeps what is pinned."""

from __future__ import annotations

import asyncio
import importlib
import threading

import numpy as np
import pytest
import xarray as xr

from nbtools import explorers, measures
from nbtools.errors import HookError, InputError, PromptError
from nbtools.explorers.logit_lens import explore
from tests.conftest import hooks_left

MODULE = importlib.import_module("nbtools.explorers.logit_lens")
TEXTS = ("The Eiffel Tower is in", "Paris is in", "One two three. One two", "Tom met Anna, and Tom")
TOP = 3

pytestmark = pytest.mark.model


@pytest.fixture
def explorer(model):
    return explorers.logit_lens(model, TEXTS[0], top=TOP)


def same(result, fresh) -> None:
    xr.testing.assert_identical(result.lens, fresh.lens)
    xr.testing.assert_identical(result.surprise, fresh.surprise)


def test_what_is_shown_is_what_the_measures_give(model, explorer):
    xr.testing.assert_identical(explorer.result.lens, measures.logit_lens(model, TEXTS[0], top=TOP))
    xr.testing.assert_identical(explorer.result.surprise, measures.surprise(model, TEXTS[0]))
    top = measures.next_token(model, TEXTS[0], top=1)
    expected = f"next: {str(top.token.item()).replace(' ', '·')} {top.item():.2f}"
    assert explorer.status.value.startswith(expected)


def test_views_show_the_result(explorer):
    explorer.text = TEXTS[2]
    lens, frame = explorer.result.lens, explorer.grid._frame
    shape = lens.token.shape
    texts = np.array(frame["texts"], dtype=object)
    np.testing.assert_array_equal(texts[np.frombuffer(frame["top"], np.uint16).reshape(shape)], lens.token)
    shares = np.frombuffer(frame["probability"], np.float16).reshape(shape)
    np.testing.assert_allclose(shares, lens.probability, rtol=1e-3, atol=1e-7)
    assert explorer.strip._frame["tokens"] == frame["tokens"] == list(explorer.result.surprise.token.values)
    last = lens.isel(layer=-1, position=-1)
    assert explorer.strip._frame["details"][-1].startswith(str(last.token.values[0]).replace(" ", "·"))


def test_views_and_traits_follow_each_other(explorer):
    explorer.grid.select(12, 3)
    assert (explorer.layer, explorer.position, explorer.strip.selected) == (12, 3, 3)
    explorer.strip.selected = 1
    assert (explorer.layer, explorer.position, explorer.grid.position) == (12, 1, 1)
    explorer.layer, explorer.position = -1, 2
    assert (explorer.grid.layer, explorer.grid.position, explorer.strip.selected) == (-1, 2, 2)
    explorer.position = None
    assert (explorer.grid.position, explorer.strip.selected) == (None, None)
    explorer.prompt.value = TEXTS[1]
    assert explorer.result.text == explorer.text == TEXTS[1]


def test_it_begins_with_what_is_asked_for(model):
    explorer = explorers.logit_lens(model, TEXTS[0], layer=20, position=2, top=2)
    assert repr(explorer) == f"LogitLensExplorer(text={TEXTS[0]!r}, layer=20, position=2)"
    assert (explorer.grid.layer, explorer.strip.selected, explorer.result.lens.sizes["rank"]) == (20, 2, 2)


def test_another_prompt_keeps_the_pin_and_a_shorter_one_lets_go_of_a_position_it_does_not_have(explorer):
    explorer.layer, explorer.position = 25, 2
    explorer.text = TEXTS[3]
    assert (explorer.layer, explorer.position, explorer.strip.selected, explorer.grid.position) == (25, 2, 2, 2)
    explorer.text = "Paris"
    assert (explorer.layer, explorer.position, explorer.strip.selected, explorer.grid.position) == (
        25,
        None,
        None,
        None,
    )
    assert explorer.error == ""


def test_bad_prompts_are_explained_and_the_last_good_result_stays(model, explorer):
    explorer.position = 1
    good, frame = explorer.result, explorer.grid._frame
    for text, sentence in (("", "the prompt is empty"), ("word " * 9000, "at most 8192")):
        explorer.text = text
        assert sentence in explorer.error
        assert sentence in explorer.status.value
        assert explorer.result is good
        assert explorer.grid._frame is frame
        assert explorer.position == 1
        assert hooks_left(model) == 0
    explorer.text = TEXTS[1]
    assert explorer.error == ""
    same(explorer.result, explore(model, TEXTS[1], TOP))


def test_a_pin_that_is_not_there_is_refused_and_changes_nothing(explorer):
    explorer.layer, explorer.position = 25, 2
    with pytest.raises(HookError, match="expected -1 to 29"):
        explorer.layer = 30
    with pytest.raises(InputError, match="expected 0 to"):
        explorer.position = 99
    assert (explorer.layer, explorer.position) == (explorer.grid.layer, explorer.grid.position) == (25, 2)


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("", {}, PromptError),
        ("a", {"layer": 30}, HookError),
        ("a", {"position": 5}, InputError),
        ("a", {"top": 0}, InputError),
    ],
)
def test_a_wrong_beginning_raises(model, text, options, error):
    with pytest.raises(error):
        explorers.logit_lens(model, text, **options)
    assert hooks_left(model) == 0


def test_a_fault_in_the_model_is_shown_and_leaves_the_explorer_usable(explorer, monkeypatch):
    monkeypatch.setattr(MODULE, "explore", lambda *_: 1 / 0)
    explorer.text = TEXTS[1]
    assert "ZeroDivisionError" in explorer.error
    monkeypatch.undo()
    explorer.text = TEXTS[2]
    assert explorer.result.text == TEXTS[2]


def test_two_hundred_edits_from_another_thread_while_the_main_thread_runs_the_model(model):
    """The widget callbacks of a kernel come like this while a cell is running."""
    shown = []

    async def main() -> None:
        explorer = explorers.logit_lens(model, TEXTS[0], top=TOP)
        explorer.observe(lambda change: shown.append(change["new"]), "result")
        edits = threading.Thread(target=lambda: [setattr(explorer, "text", f"{n} {TEXTS[n % 4]}") for n in range(200)])
        edits.start()
        reference = [explore(model, text, TOP) for text in TEXTS]
        for text, expected in zip(TEXTS, reference, strict=True):  # the cell: its own results must not be disturbed
            same(explore(model, text, TOP), expected)
        edits.join()
        for _ in range(10):
            await asyncio.sleep(0)
        assert explorer.result.text == explorer.text == f"199 {TEXTS[3]}"
        assert explorer.strip._frame["tokens"] == explorer.grid._frame["tokens"]

    asyncio.run(main())
    assert shown
    for result in shown:
        same(result, explore(model, result.text, TOP))
    assert hooks_left(model) == 0


def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer):
    explorer.layer, explorer.position = 29, 4
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert len(bundle["image/png"]) < 60_000


def test_a_page_without_a_kernel_links_strip_and_grid(explorer, tmp_path):
    from nbtools.views.group import links_between

    assert links_between([explorer.strip, explorer.grid]) == [[[1, "position"], [0, "selected"]]]
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 10_000
