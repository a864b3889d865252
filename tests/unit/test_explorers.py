"""An explorer shows what a fresh run gives for the prompt it names, whatever was typed and however fast."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading

import numpy as np
import psutil
import pytest

from nbtools import explorers, measures
from nbtools.errors import HookError, PromptError
from nbtools.explorers.attention import explore
from tests.conftest import hooks_left

MODULE = importlib.import_module("nbtools.explorers.attention")
TEXTS = ("The Eiffel Tower is in", "Paris is in", "One two three. One two", "Tom met Anna, and Tom")


@pytest.fixture
def explorer(model):
    return explorers.attention(model, TEXTS[0], head="18.6")


def same(result, fresh) -> None:
    np.testing.assert_array_equal(result.pattern, fresh.pattern)
    np.testing.assert_array_equal(result.surprise, fresh.surprise)
    for name in fresh.scores:
        np.testing.assert_array_equal(result.scores[name], fresh.scores[name])
    assert result.expected == fresh.expected


@pytest.mark.model
def test_what_is_shown_is_what_the_measures_give(model, explorer):
    result = explorer.result
    np.testing.assert_allclose(result.pattern, measures.attention(model, TEXTS[0]), atol=1e-5)
    scores = measures.head_scores(model, TEXTS[0])
    for name in scores:
        np.testing.assert_allclose(result.scores[name], scores[name], atol=1e-5)
    np.testing.assert_allclose(result.surprise, measures.surprise(model, TEXTS[0]), atol=1e-4)
    top = measures.next_token(model, TEXTS[0], top=1)
    assert result.expected[-1].startswith(str(top.token.item()).replace(" ", "·"))


@pytest.mark.model
def test_views_show_the_result(explorer):
    explorer.text = TEXTS[2]
    levels = np.frombuffer(explorer.map._pages["levels"]["18"], np.uint8)
    expected = explorer.result.pattern.sel(layer=18).values
    n = expected.shape[-1]
    np.testing.assert_allclose(levels.reshape(9, -1) / 255, expected[:, *np.tril_indices(n)], atol=0.5 / 255 + 1e-6)
    grid = np.frombuffer(explorer.grid._frame["values"], np.float32).reshape(30, 9)
    np.testing.assert_array_equal(grid, explorer.result.scores[explorer.measure])
    assert explorer.strip._frame["tokens"] == list(explorer.result.surprise.token.values)


@pytest.mark.model
def test_views_and_traits_follow_each_other(explorer):
    explorer.grid.selected = ["3.2"]
    assert (explorer.head, explorer.map.head) == ("3.2", "3.2")
    explorer.map.head = "3.5"
    assert (explorer.head, explorer.grid.selected) == ("3.5", ["3.5"])
    explorer.head = "20.1"
    assert (explorer.map.head, explorer.grid.selected) == ("20.1", ["20.1"])
    explorer.strip.selected = 2
    assert (explorer.query, explorer.map.query) == (2, 2)
    explorer.map.query = None
    assert (explorer.query, explorer.strip.selected) == (None, None)
    explorer.measures.value = "entropy"
    assert explorer.measure == "entropy"
    assert explorer.grid._frame["label"] == "entropy"
    explorer.prompt.value = TEXTS[1]
    assert explorer.result.text == explorer.text == TEXTS[1]


@pytest.mark.model
def test_a_shorter_prompt_lets_go_of_a_query_it_does_not_have(explorer):
    explorer.query = 4
    explorer.text = "Paris"
    assert (explorer.query, explorer.map.query, explorer.strip.selected) == (None, None, None)
    explorer.text = TEXTS[0]
    assert explorer.error == ""


@pytest.mark.model
def test_bad_prompts_are_explained_and_the_last_good_result_stays(model, explorer):
    good = explorer.result
    for text, sentence in (("", "the prompt is empty"), ("word " * 9000, "at most 8192")):
        explorer.text = text
        assert sentence in explorer.error
        assert sentence in explorer.status.value
        assert explorer.result is good
        assert hooks_left(model) == 0
    explorer.text = TEXTS[1]
    assert explorer.error == ""
    same(explorer.result, explore(model, TEXTS[1], 18))


@pytest.mark.model
def test_a_wrong_head_is_explained_and_the_last_good_one_stays_on_show(explorer):
    explorer.head = "40.1"
    assert "expected layers 0 to 29" in explorer.error
    assert explorer.map.head == "18.6"


@pytest.mark.model
def test_a_wrong_beginning_raises(model):
    with pytest.raises(PromptError):
        explorers.attention(model, "")
    with pytest.raises(HookError):
        explorers.attention(model, "a", head="30.0")


@pytest.mark.model
def test_a_fault_in_the_model_is_shown_and_leaves_the_explorer_usable(explorer, monkeypatch):
    monkeypatch.setattr(MODULE, "explore", lambda *_: 1 / 0)
    explorer.text = TEXTS[1]
    assert "ZeroDivisionError" in explorer.error
    monkeypatch.undo()
    explorer.text = TEXTS[2]
    assert explorer.result.text == TEXTS[2]


@pytest.mark.model
def test_two_hundred_edits_from_another_thread_while_the_main_thread_runs_the_model(model):
    """The widget callbacks of a kernel come like this while a cell is running."""
    shown = []

    async def main() -> None:
        explorer = explorers.attention(model, TEXTS[0], head="18.6")
        explorer.observe(lambda change: shown.append(change["new"]), "result")
        edits = threading.Thread(target=lambda: [setattr(explorer, "text", f"{n} {TEXTS[n % 4]}") for n in range(200)])
        edits.start()
        reference = [explore(model, text, 18) for text in TEXTS]
        for _ in range(3):  # the cell: its own results must not be disturbed either
            for text, expected in zip(TEXTS, reference, strict=True):
                same(explore(model, text, 18), expected)
        edits.join()
        for _ in range(10):
            await asyncio.sleep(0)
        assert explorer.result.text == explorer.text == f"199 {TEXTS[3]}"

    asyncio.run(main())
    for result in shown:
        same(result, explore(model, result.text, 18))
    assert hooks_left(model) == 0


@pytest.mark.model
def test_two_hundred_edits_leave_memory_flat(explorer):
    """What leaks, leaks in every batch; what an allocator keeps for later, it takes once."""
    process = psutil.Process()

    def batch() -> tuple[int, int]:
        before = process.memory_info().rss
        for n in range(50):
            explorer.text = f"{n} {TEXTS[n % 4]}"
        gc.collect()
        return process.memory_info().rss - before, len(gc.get_objects())

    batch()
    grown, objects = zip(*(batch() for _ in range(4)), strict=True)
    assert min(grown) < 1e6
    assert max(objects) - min(objects) < 100


@pytest.mark.model
def test_a_long_prompt_keeps_one_layer_and_fetches_another_when_it_is_picked(model, monkeypatch):
    monkeypatch.setattr("nbtools.explorers._kept._BUDGET_MB", 0.01)
    explorer = explorers.attention(model, TEXTS[0], head="18.6")
    assert list(explorer.result.pattern.layer.values) == [18]
    explorer.head = "4.2"
    assert list(explorer.result.pattern.layer.values) == [4]
    np.testing.assert_allclose(explorer.result.pattern, measures.attention(model, TEXTS[0], layers=4), atol=1e-5)


@pytest.mark.model
def test_a_prompt_too_long_for_a_page_is_explained_before_the_model_runs(model):
    explorer = explorers.attention(model, TEXTS[0])
    before = explorer.result
    explorer.text = "word and another thing " * 420
    assert "a shorter prompt" in explorer.error and explorer.result is before
    explorer.text = TEXTS[1]
    assert explorer.error == "" and explorer.result.text == TEXTS[1]


@pytest.mark.model
def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert len(bundle["image/png"]) < 60_000
