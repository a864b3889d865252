"""The sink explorer shows what the measures give for the run it names, and says what an intervention costs."""

from __future__ import annotations

import asyncio
import importlib
import threading

import numpy as np
import pytest
import traitlets
import xarray as xr

from nbtools import explorers, measures, patching
from nbtools.errors import ArrayError, HookError, InputError, PromptError
from nbtools.explorers._sink_runs import SinkRuns
from nbtools.patching import SINK_INTERVENTIONS, intervene
from nbtools.training import TinyConfig, TinyTransformer
from tests.conftest import hooks_left

MODULE = importlib.import_module("nbtools.explorers._sink_runs")
TEXT = "The old harbour town woke slowly, and the first boats came in."
TEXTS = (TEXT, "Paris is in France", "One two three. One two", "Tom met Anna, and Tom")

pytestmark = pytest.mark.model


@pytest.fixture
def explorer(model):
    return explorers.sinks(model, TEXT, head="18.7")


@pytest.fixture
def runs(monkeypatch):
    """Count the forward passes."""
    made, forward = [], MODULE.forward
    monkeypatch.setattr(MODULE, "forward", lambda *given, **options: made.append(1) or forward(*given, **options))
    return made


def same(result, fresh) -> None:
    for name in ("mass", "residual_norms", "value_norms", "pattern", "surprise", "unchanged"):
        xr.testing.assert_identical(getattr(result, name), getattr(fresh, name))
    assert (result.text, result.intervention, result.massive) == (fresh.text, fresh.intervention, fresh.massive)


def numbers(view, shape) -> np.ndarray:
    return np.frombuffer(view._frame["values"], np.float32).reshape(shape)


@pytest.mark.parametrize("kind", SINK_INTERVENTIONS)
def test_what_is_shown_is_what_the_measures_give_with_the_same_intervention(model, explorer, kind):
    explorer.intervention = kind
    read, edit = intervene(model, TEXT, kind)
    result = explorer.result
    for found, measure in (
        (result.mass, measures.sink_mass),
        (result.value_norms, measures.value_norms),
        (result.residual_norms, measures.residual_norms),
    ):
        xr.testing.assert_allclose(found, measure(model, read, edit=edit), rtol=1e-4)
    xr.testing.assert_allclose(result.surprise.drop_vars("position"), measures.surprise(model, read, edit=edit), 1e-4)
    assert hooks_left(model) == 0


@pytest.mark.parametrize("kind", SINK_INTERVENTIONS)
def test_the_cost_is_that_of_the_same_tokens(model, explorer, kind):
    explorer.intervention = kind
    result, start = explorer.result, 2
    found = patching.sink_costs(model, TEXT, kinds=["unchanged", kind], start=start)
    cost = found.loss.sel(intervention=kind) - found.loss.sel(intervention="unchanged")
    first = start + result.surprise.size - len(measures.surprise(model, TEXT))
    np.testing.assert_allclose(result.change[first:].mean(), cost.mean(), atol=1e-4)
    np.testing.assert_allclose(result.cost, np.nanmean(result.surprise - result.unchanged), atol=1e-6)
    assert result.unchanged.token.values.tolist() == result.surprise.token.values.tolist()


def test_the_peak_is_the_one_that_sink_costs_gives(model):
    explorer = explorers.sinks(model, TEXTS[1])
    assert explorer.result.surprise.size == 4  # an odd number of others: one of them is the median
    found = patching.sink_costs(model, TEXTS[1], kinds=["unchanged"], start=2)
    np.testing.assert_allclose(explorer.result.peak()[0], found.peak.item(), rtol=1e-4)


def test_what_is_said_is_what_the_run_gave(explorer):
    result = explorer.result
    resting, loss = int((result.mass.sel(key=0) > 0.3).sum()), float(np.nanmean(result.surprise))
    assert explorer.status.value.startswith(f"{resting} of 270 heads above 0.3 on token 0 The · peak norm ")
    assert explorer.status.value.endswith(f"loss {loss:.2f} nats")
    explorer.intervention = "emptied"
    after = float(np.nanmean(explorer.result.surprise))
    assert explorer.status.value.endswith(f"loss {after:.2f}, unchanged {loss:.2f} ({after - loss:+.2f} nats)")
    assert SINK_INTERVENTIONS["emptied"] in explorer.strip.title
    assert explorer.map.title.endswith("its value there is 0 × the others'")


def test_views_show_the_result(explorer):
    result = explorer.result
    np.testing.assert_array_equal(numbers(explorer.grid, (30, 9)), result.mass.sel(key=0))
    np.testing.assert_array_equal(numbers(explorer.norms, (30, -1)), result.residual_norms)
    np.testing.assert_array_equal(numbers(explorer.strip, -1), result.surprise)
    explorer.shown = "value"
    np.testing.assert_array_equal(numbers(explorer.norms, (30, -1)), result.value_norms.mean("head"))
    explorer.intervention = "hidden"
    frame = explorer.strip._frame
    np.testing.assert_array_equal(numbers(explorer.strip, -1), explorer.result.change)
    assert frame["vmin"] == -frame["vmax"] <= -1
    assert (explorer.map.head, explorer.map._patterns.of("18.7")[1:, 0].max()) == ("18.7", 0)


def test_a_click_on_a_token_shows_the_attention_to_it_and_letting_go_the_first_again(explorer):
    explorer.strip.selected = 3
    assert (explorer.key, explorer.norms.position, explorer.grid.title) == (3, 3, "paid to token 3 ·town")
    np.testing.assert_array_equal(numbers(explorer.grid, (30, 9)), explorer.result.mass.sel(key=3))
    assert "on token 3 ·town" in explorer.status.value
    explorer.norms.select(12, 5)
    assert (explorer.key, explorer.strip.selected, explorer.norms.layer) == (5, 5, 12)
    explorer.strip.selected = None
    assert (explorer.key, explorer.strip.selected, explorer.norms.position) == (0, 0, 0)
    explorer.strip.selected = None
    assert (explorer.key, explorer.strip.selected) == (0, 0)
    explorer.key = 2
    assert (explorer.strip.selected, explorer.norms.position) == (2, 2)


def test_views_controls_and_traits_follow_each_other(explorer):
    explorer.grid.selected = ["3.2"]
    assert (explorer.head, explorer.map.head) == ("3.2", "3.2")
    explorer.map.head = "3.5"
    assert (explorer.head, explorer.grid.selected) == ("3.5", ["3.5"])
    explorer.head = "20.1"
    assert (explorer.map.head, explorer.grid.selected) == ("20.1", ["20.1"])
    assert explorer.map.title.startswith("20.1 · ")
    explorer.norms_of.value, explorer.interventions.value, explorer.prompt.value = "value", "replaced", TEXTS[1]
    assert (explorer.shown, explorer.intervention, explorer.text) == ("value", "replaced", TEXTS[1])
    assert (explorer.result.text, explorer.result.intervention) == (TEXTS[1], "replaced")
    assert explorer.strip._frame["tokens"][0] == "\n"


def test_a_token_that_is_put_first_moves_the_others_one_place(model, explorer):
    before = explorer.result
    explorer.intervention = "prepended"
    after = explorer.result
    assert after.mass.key_token.values.tolist() == ["<|im_start|>", *before.mass.key_token.values]
    assert explorer.strip._frame["tokens"] == explorer.norms._frame["tokens"] == after.mass.key_token.values.tolist()
    np.testing.assert_array_equal(after.unchanged[1:], before.surprise)
    assert np.isnan(after.change[:2]).all() and np.isfinite(after.change[2:]).all()


def test_a_keystroke_runs_the_model_once_and_an_intervention_once_more(explorer, runs):
    explorer.text = TEXTS[1]
    assert len(runs) == 1
    explorer.head, explorer.key, explorer.shown = "3.1", 2, "value"
    assert len(runs) == 1
    explorer.intervention = "clamped"
    assert len(runs) == 2
    explorer.text = TEXTS[2]
    assert len(runs) == 4
    explorer.intervention = "unchanged"
    assert len(runs) == 4


def test_what_is_clamped_are_the_massive_activations_of_the_unchanged_run(model, explorer):
    found = measures.massive_activations(model, TEXT)
    assert explorer.result.massive == tuple(np.unique(found.dimension[found.position == 0]).tolist())
    explorer.intervention = "clamped"
    same(explorer.result, SinkRuns(model).answer(TEXT, "clamped"))


def test_it_begins_with_what_is_asked_for(model):
    explorer = explorers.sinks(model, TEXT, head=(20, 1), intervention="hidden")
    assert repr(explorer) == f"SinksExplorer(text={TEXT!r}, intervention='hidden', head='20.1', key=0)"
    assert (explorer.result.intervention, explorer.interventions.value, explorer.map.head) == (
        "hidden",
        "hidden",
        "20.1",
    )


def test_the_head_that_pays_the_first_token_most_is_on_show_if_none_is_asked_for(model):
    explorer = explorers.sinks(model, TEXT)
    layer, head = map(int, explorer.head.split("."))
    mass = measures.sink_mass(model, TEXT).sel(key=0)
    np.testing.assert_allclose(mass.sel(layer=layer, head=head), mass.max(), atol=1e-5)


def test_bad_requests_are_explained_and_the_last_good_result_stays(model, explorer):
    explorer.key = 1
    good, frame = explorer.result, explorer.grid._frame
    for text, sentence in (("", "the prompt is empty"), ("word " * 1000, "a shorter prompt")):
        explorer.text = text
        assert sentence in explorer.error and sentence in explorer.status.value
        assert explorer.result is good and explorer.grid._frame is frame and explorer.key == 1
        assert hooks_left(model) == 0
    explorer.head = "20.1"  # what is on show can still be looked at
    assert (explorer.map.head, explorer.result) == ("20.1", good)
    explorer.text = "Paris"
    assert explorer.error == "" and explorer.key == 0
    explorer.intervention = "hidden"
    assert "expected a prompt of two tokens or more, got 1" in explorer.error
    assert explorer.result.intervention == "unchanged"
    explorer.text = TEXTS[1]
    assert (explorer.error, explorer.result.intervention) == ("", "hidden")


def test_what_is_not_there_is_refused_and_changes_nothing(explorer):
    for name, value, error, sentence in (
        ("head", "40.1", HookError, "expected layers 0 to 29"),
        ("key", 99, InputError, "expected the position of a token from 0 to"),
        ("key", -1, InputError, "expected the position of a token from 0 to"),
        ("intervention", "gone", traitlets.TraitError, "hidden"),
        ("shown", "key", traitlets.TraitError, "residual"),
    ):
        before = getattr(explorer, name)
        with pytest.raises(error, match=sentence):
            setattr(explorer, name, value)
        assert getattr(explorer, name) == before
    assert (explorer.map.head, explorer.strip.selected, explorer.error) == ("18.7", 0, "")


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("", {}, PromptError),
        (TEXT, {"head": "30.0"}, HookError),
        (TEXT, {"intervention": "gone"}, InputError),
        ("word " * 1000, {}, ArrayError),
    ],
)
def test_a_wrong_beginning_raises(model, text, options, error):
    with pytest.raises(error):
        explorers.sinks(model, text, **options)
    assert hooks_left(model) == 0


def test_a_prompt_of_one_token_has_no_others_to_compare_with(model):
    explorer = explorers.sinks(model, "Paris")
    assert explorer.status.value == "270 of 270 heads above 0.3 on token 0 Paris"
    assert np.isnan(explorer.result.cost)


def test_a_long_prompt_keeps_one_layer_of_attention_and_shows_the_norms_of_its_first_tokens(model, explorer, runs):
    explorer.text = "one two" + " one two" * 129
    assert explorer.result.pattern.layer.values.tolist() == [18]
    assert (len(explorer.norms._frame["tokens"]), explorer.result.residual_norms.sizes["position"]) == (128, 260)
    assert explorer.norms.title.endswith(", first 128 tokens")
    explorer.head, explorer.key = "3.1", 200
    assert explorer.result.pattern.layer.values.tolist() == [3]
    assert (explorer.map.head, explorer.norms.position, explorer.strip.selected) == ("3.1", None, 200)
    assert (len(runs), explorer.error) == (2, "")


def test_a_fault_in_the_model_is_shown_and_leaves_the_explorer_usable(model, explorer, monkeypatch):
    monkeypatch.setattr(MODULE, "forward", lambda *given, **options: 1 / 0)
    explorer.text = TEXTS[1]
    assert "ZeroDivisionError" in explorer.error
    monkeypatch.undo()
    explorer.text = TEXTS[2]
    assert (explorer.result.text, explorer.error, hooks_left(model)) == (TEXTS[2], "", 0)


def test_edits_from_another_thread_while_the_main_thread_runs_the_model(model):
    """The widget callbacks of a kernel come like this while a cell is running."""
    shown = []

    async def main() -> None:
        explorer = explorers.sinks(model, TEXT, intervention="hidden")
        explorer.observe(lambda change: shown.append(change["new"]), "result")
        edits = threading.Thread(target=lambda: [setattr(explorer, "text", f"{n} {TEXTS[n % 4]}") for n in range(100)])
        edits.start()
        for text in TEXTS:
            same(SinkRuns(model).answer(text, "emptied"), SinkRuns(model).answer(text, "emptied"))
        edits.join()
        for _ in range(10):
            await asyncio.sleep(0)
        assert explorer.result.text == explorer.text == f"99 {TEXTS[3]}"

    asyncio.run(main())
    assert shown
    for result in shown:
        same(result, SinkRuns(model).answer(result.text, "hidden"))
    assert hooks_left(model) == 0


def toy(**options) -> TinyTransformer:
    return TinyTransformer(TinyConfig(layers=3, heads=2, d_model=16, d_head=8, length=16, vocabulary=4), **options)


def test_a_small_model_with_labels_is_explored_as_any_other():
    explorer = explorers.sinks(toy(labels=("<bos>", "a", "b", "c")), "abcab")
    explorer.intervention = "hidden"
    assert (explorer.error, explorer.result.mass.key_token.values[0]) == ("", "<bos>")
    assert float(explorer.result.mass.sel(key=0).max()) == pytest.approx(1 / 6)
    explorer.intervention = "clamped"
    assert "this prompt may have no massive activations" in explorer.error
    explorer.text = "abd"
    assert "this model knows the characters 'abc'" in explorer.error


def test_a_layer_without_attention_has_norms_and_no_heads():
    kinds = TinyConfig(
        layers=3, heads=2, d_model=16, d_head=8, length=16, vocabulary=4, attention=("none", "softmax", "none")
    )
    model = TinyTransformer(kinds, labels=("<bos>", "a", "b", "c"))
    explorer = explorers.sinks(model, "abcab")
    assert (explorer.result.mass.layer.values.tolist(), explorer.result.residual_norms.sizes["layer"]) == ([1], 3)
    with pytest.raises(HookError, match="layer 0 has no attention: expected one of 1"):
        explorer.head = "0.1"


def test_a_model_without_tokenizer_is_refused(tiny):
    with pytest.raises(PromptError, match="has no tokenizer, so no prompt can be typed"):
        explorers.sinks(tiny, "a")


def test_the_explorer_leaves_a_picture_and_a_page_without_a_kernel(explorer, tmp_path):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert bundle["image/png"].startswith(b"\x89PNG") and len(bundle["image/png"]) < 100_000
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 10_000
