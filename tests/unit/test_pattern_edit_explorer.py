"""The pattern editor: heads that are made to look elsewhere, what the model then says, and the whole task so."""

from __future__ import annotations

import asyncio
import importlib
import random
import threading

import numpy as np
import pytest
import torch
import xarray as xr

from nbtools import explorers, measures, patching, tasks
from nbtools.errors import HookError, InputError
from nbtools.runs import forward
from tests.conftest import hooks_left, tiny_bridge
from tests.unit.test_patching_explorer import until, words

RUNS = importlib.import_module("nbtools.explorers._pattern_runs")
BATCH = 2
TEXTS = (
    "The tower one bridge two castle is in",
    "The castle one tower two bridge is in",
    "The bridge one castle two tower is in",
    "The tower one castle two bridge is in",
    "The castle one bridge two tower is in",
)
THREE = {"ANSWER": "tower", "WRONG": "bridge", "OTHER": "castle"}


@pytest.fixture(scope="module")
def talker():
    """A small random model with 3 layers and 4 heads that reads and writes words."""
    bridge = tiny_bridge()
    bridge.tokenizer, bridge.cfg.default_prepend_bos = words(), False
    return bridge


@pytest.fixture(scope="module")
def task(talker):
    corrupted = [text.replace("one", "two") for text in TEXTS]
    answers = [" tower"] * len(TEXTS), [" bridge"] * len(TEXTS)
    return tasks.pair(talker, list(TEXTS), corrupted, *answers, positions=THREE, name="towers")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(RUNS, "_BATCH", BATCH)


def explore(talker, task, **options):
    return explorers.pattern_edit(talker, task, **{"head": "1.2", "to": ["WRONG", "OTHER"], **options})


@pytest.fixture
def explorer(talker, task):
    return explore(talker, task)


def run_by_hand(talker, task, prompt, heads, query, to):
    """Logits at the end with rows of attention overwritten, the slow and simple way; without heads as it is."""

    def overwrite(pattern, head):
        pattern[0, head, query] = 0
        for place in to:
            pattern[0, head, query, place] += 1 / len(to)

    edits = {
        f"blocks.{layer}.attn.hook_pattern": lambda pattern, head=head: overwrite(pattern, head)
        for layer, head in heads
    }
    return forward(talker, task.clean.ids[prompt : prompt + 1], edit=edits).logits[0, -1]


def expected_of(talker, task, prompt, heads, query, to):
    logits = run_by_hand(talker, task, prompt, heads, query, to).double()
    return logits.softmax(-1).numpy(), float(logits[task.answer[prompt]] - logits[task.wrong[prompt]])


def test_what_is_shown_is_what_an_overwritten_row_gives(talker, task, explorer):
    explorer.heads = ["1.2", "2.0"]
    for prompt, query, to, places in (
        (0, "END", ["WRONG", "OTHER"], [3, 5]),
        (1, "END", ["WRONG", 2], [5, 2]),
        (1, 6, ["WRONG"], [5]),
        (2, "OTHER", [0], [0]),
    ):
        explorer.free()
        explorer.prompt, explorer.query, explorer.to = prompt, query, to
        assert explorer.error == ""
        place = query if isinstance(query, int) else task.positions[query][prompt]
        for run, heads in (("before", []), ("after", [(1, 2), (2, 0)])):
            found = explorer.result.sel(run=run)
            chances, gap = expected_of(talker, task, prompt, heads, place, places)
            np.testing.assert_allclose(found.probability, chances[found.token_id.values], atol=1e-6)
            assert float(found.logit_difference) == pytest.approx(gap, abs=1e-4)
            assert set(np.argsort(-chances)[:5]) <= set(found.token_id.values)
        row = np.zeros(len(task.clean))
        row[places] = 1 / len(places)
        for layer, head in ((1, 2), (2, 0)):
            np.testing.assert_array_equal(explorer.result.attention.sel(run="after", layer=layer, head=head), row)
    before = explorer.result.attention.sel(run="before")
    whole = measures.attention(talker, task.clean.ids[2])
    np.testing.assert_allclose(before, whole.isel(query=task.positions["OTHER"][2]), atol=1e-6)
    assert hooks_left(talker) == 0


def test_the_answer_and_what_competes_with_it_come_first_and_are_marked(explorer):
    assert explorer.result.token.values.tolist()[:3] == [" tower", " bridge", " castle"]
    assert explorer.views.bars._rows.tokens[:2] == [" tower\xa0(answer)", " bridge\xa0(wrong)"]
    assert explorer.views.bars._names == ("as it is", "forced")
    before, after = (f"{gap:+.2f}".replace("-", "−") for gap in explorer.result.logit_difference.values)
    looks = "1.2 looks from END at WRONG and OTHER"
    assert explorer.status.value == f"{looks} · logit difference ·tower less ·bridge: {before} → {after} nats"


def test_rows_are_those_of_the_first_head_on_one_scale(explorer):
    explorer.heads = ["2.1", "1.2"]
    for strip, run in ((explorer.views.before, "before"), (explorer.views.after, "after")):
        np.testing.assert_array_equal(strip._values, explorer.result.attention.sel(run=run, layer=2, head=1))
        assert (strip._scale.vmin, strip._scale.vmax) == (0, 1)
    assert explorer.views.before.selected == 7
    assert explorer.views.after._frame["details"] == ["", "ANSWER", "", "WRONG", "", "OTHER", "", "END"]


def test_the_whole_task_is_what_score_gives_of_both_runs(talker, task, explorer):
    explorer.heads = ["1.2", "2.0"]
    found = explorer.finish()
    edits = [None, lambda part: patching.force_attention(talker, part, ["1.2", "2.0"], ["WRONG", "OTHER"])]
    for run, edit in zip(("before", "after"), edits, strict=True):
        expected = measures.score(talker, task, edit=edit, among=tasks.candidates(task))
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_allclose(found[name].sel(run=run), expected[name], atol=1e-4, err_msg=f"{run} {name}")
    assert found is explorer.task_result is explorer.runs[-1]
    assert (explorer.progress, explorer.total, explorer.busy) == (5, 5, False)
    assert (found.attrs["heads"], found.attrs["to"], found.attrs["prompts"]) == ("1.2 2.0", "WRONG OTHER", 5)
    gaps = (f"{gap:+.2f}".replace("-", "−") for gap in found.logit_difference.mean("prompt").values)
    assert explorer.state.startswith(f"5 prompts · mean logit difference {' → '.join(gaps)} nats · right in the whole")
    assert "among 3 candidates" in explorer.panel.says.value


def test_free_heads_change_nothing(explorer):
    explorer.controls.free.click()
    assert (explorer.to, explorer.error) == ([], "")
    found = explorer.result
    for name in found:
        np.testing.assert_array_equal(found[name].sel(run="before"), found[name].sel(run="after"))
    whole = explorer.finish()
    np.testing.assert_array_equal(*(whole.logit_difference.sel(run=run) for run in ("before", "after")))
    assert explorer.controls.free.disabled
    assert "by itself" in explorer.status.value
    assert "→" not in explorer.state


def test_a_click_takes_a_token_by_its_name_or_else_by_its_number(explorer):
    lower = explorer.views.after
    lower.selected = 5  # OTHER, which is let go
    assert (explorer.to, lower.selected) == (["WRONG"], None)
    lower.selected = 4
    assert explorer.to == ["WRONG", 4]
    assert "token 4 is taken by its number" in (explorer.finish(), explorer.state)[1]
    lower.selected = 1
    assert explorer.to == ["WRONG", 4, "ANSWER"]
    explorer.prompt = 1
    np.testing.assert_array_equal(
        np.flatnonzero(explorer.result.attention.sel(run="after", layer=1, head=2)), [3, 4, 5]
    )
    explorer.toggle("ANSWER")
    assert explorer.to == ["WRONG", 4]


def test_a_click_on_the_upper_row_says_from_where_to_look(explorer):
    upper, menu = explorer.views.before, explorer.controls.query
    upper.selected = 6
    assert (explorer.query, menu.value, explorer.result.attrs["query"]) == (6, 6, "6")
    upper.selected = None  # one looks from somewhere
    assert (explorer.query, upper.selected) == (6, 6)
    upper.selected = 5
    assert (explorer.query, explorer.error) == ("OTHER", "")
    menu.value = "END"
    assert (explorer.query, upper.selected) == ("END", 7)


def test_buttons_and_the_text_box_are_the_traits(explorer):
    controls = explorer.controls
    controls.names["ANSWER"].value = True
    controls.names["WRONG"].value = False
    assert explorer.to == ["OTHER", "ANSWER"]
    other = next(head for head in controls.tries if head != "1.2")
    controls.tries[other].value = True
    assert (explorer.heads, controls.heads.value) == (["1.2", other], f"1.2 {other}")
    controls.heads.value = "0.3, 1.2  0.3"
    assert explorer.heads == ["0.3", "1.2"]
    assert (controls.tries["1.2"].value, controls.tries[other].value) == (True, False)
    explorer.to = [5, 4]  # by number, of which one has a name
    controls.names["OTHER"].value = True
    assert explorer.to == [4, "OTHER"]
    explorer.to = "WRONG"
    assert [name for name, button in controls.names.items() if button.value] == ["WRONG"]
    explorer.heads = ["1.0 0.3", (2, 3)]
    assert explorer.heads == ["1.0", "0.3", "2.3"]
    explorer.heads = [(2, 3)]
    assert (explorer.heads, controls.heads.value) == (["2.3"], "2.3")
    controls.prompt.value = 3
    assert explorer.result.attrs["prompt"] == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": ["9.0"]}, "head 9.0 does not exist: expected layers 0 to 2"),
        ({"heads": "first"}, "expected a head such as .*got 'first'"),
        ({"heads": []}, "expected one head or more, such as 18.6, got none"),
        ({"to": ["S2"]}, "no position 'S2'"),
        ({"to": [8]}, "expected positions between 0 and 7"),
        ({"query": "S2"}, "no position 'S2'"),
        ({"query": 3}, "token 3 ·bridge comes before token 5 ·castle, and cannot look at it"),
    ],
)
def test_what_cannot_be_done_is_explained_and_the_last_good_state_stays(talker, explorer, change, sentence):
    good, pins = explorer.result, [button.value for button in explorer.controls.names.values()]
    for name, value in change.items():
        setattr(explorer, name, value)
    assert explorer.result is good
    with pytest.raises(InputError, match=sentence):
        explorer.finish()
    assert explorer.status.value == f"⚠ {explorer.error}"
    assert ([button.value for button in explorer.controls.names.values()], explorer.views.before.selected) == (pins, 7)
    explorer.controls.names["ANSWER"].value = True  # from what is on show
    assert (explorer.error, explorer.heads, explorer.query) == ("", ["1.2"], "END")
    assert explorer.to == ["WRONG", "OTHER", "ANSWER"]
    assert hooks_left(talker) == 0


def test_the_task_is_run_with_the_edit_on_show_while_another_is_refused(explorer):
    explorer.to = ["S2"]
    explorer.whole_task = True
    assert explorer.task_result.attrs["to"] == "WRONG OTHER"
    assert "no position 'S2'" in explorer.error
    explorer.controls.names["ANSWER"].value = True
    assert (explorer.error, explorer.task_result.attrs["to"]) == ("", "WRONG OTHER ANSWER")


def test_a_click_ahead_of_the_query_is_explained_and_can_be_taken_back(explorer):
    explorer.to = []
    explorer.query = "WRONG"
    explorer.views.after.selected = 5
    assert "token 3 ·bridge comes before token 5 ·castle" in explorer.error
    assert not explorer.controls.names["OTHER"].value
    explorer.views.after.selected = 1
    assert (explorer.to, explorer.error) == (["ANSWER"], "")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("to", {"WRONG": 0.5, "OTHER": 0.5}, "for other shares call"),
        ("to", [1.5], "expected a position by name or number, got 1.5"),
        ("heads", 5, "expected a head such as .*got 5"),
        ("query", None, "expected a position by name or number, got None"),
        ("prompt", 5, "expected a prompt from 0 to 4, got 5"),
    ],
)
def test_what_is_no_edit_at_all_is_refused(explorer, name, value, sentence):
    was = getattr(explorer, name)
    with pytest.raises((InputError, HookError), match=sentence):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == was


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"head": "3.0"}, HookError),
        ({"head": "all"}, HookError),
        ({"query": "S2"}, InputError),
        ({"query": 2}, InputError),
        ({"to": ["S2"]}, InputError),
        ({"to": [99]}, HookError),
        ({"prompt": 5}, InputError),
    ],
)
def test_a_wrong_beginning_raises(talker, task, options, error):
    with pytest.raises(error):
        explore(talker, task, **options)
    assert hooks_left(talker) == 0


def test_an_edit_that_fits_only_some_prompts_is_explained_when_all_are_run(explorer):
    with explorer.hold_trait_notifications():
        explorer.query, explorer.to = "OTHER", ["WRONG"]
    good = explorer.result
    assert (explorer.error, good.attrs["to"]) == ("", "WRONG")
    with pytest.raises(InputError, match="prompt 1 would look ahead, from token 1 at 5"):
        explorer.finish()
    assert (explorer.task_result, explorer.busy, explorer.result is good) == (None, False, True)
    explorer.query = "END"
    assert (explorer.error, explorer.finish().sizes["prompt"]) == ("", 5)


def test_heads_to_try_look_most_at_what_the_task_names(talker, task):
    explorer = explorers.pattern_edit(talker, task)
    watched = task[: RUNS._WATCHED]
    paid = measures.attention_to_positions(talker, watched.clean, watched.positions, keys=list(THREE))
    paid = paid.sel(key=list(THREE)).sum("key").mean("prompt")
    best = [f"{at // 4}.{at % 4}" for at in np.argsort(-paid.values.ravel())[:6]]
    assert (list(explorer.controls.tries), explorer.heads, explorer.to) == (best, best[:1], [])


def test_a_task_that_names_nothing_has_no_candidates_and_can_be_edited(talker):
    plain = tasks.pair(talker, TEXTS[0], TEXTS[0].replace("one", "two"), " tower", " bridge")
    explorer = explorers.pattern_edit(talker, plain, to=2)
    assert set(explorer.finish()) == {"logit_difference", "probability", "correct"}
    assert explorer.panel.bars._names == ("vocabulary",)
    assert list(explorer.controls.names) == ["END"]


def test_edits_of_the_whole_task_are_kept_and_brought_back(explorer):
    first = explorer.finish()
    explorer.heads = ["0.1"]
    assert (explorer.task_result, explorer.progress) == (None, 0)
    second = explorer.finish()
    rows = explorer.panel.bars
    assert [run.attrs["heads"] for run in explorer.runs] == ["1.2", "0.1"]
    labels = [text.replace("\xa0", " ") for text in rows._rows.tokens]
    assert labels == ["as it is", "1.2 → WRONG OTHER", "▸ 0.1 → WRONG OTHER"]
    shares = [first.sel(run="before"), first.sel(run="after"), second.sel(run="after")]
    for name, values in zip(("correct", "correct_among"), rows._rows.values, strict=True):
        np.testing.assert_allclose(values, [found[name].mean() for found in shares], atol=1e-6)
    rows.selected = rows._rows.tokens[1]
    assert (rows.selected, rows._rows.tokens[1]) == (None, "▸\xa01.2\xa0→\xa0WRONG\xa0OTHER")
    assert (explorer.heads, explorer.task_result is first, explorer.progress) == (["1.2"], True, 5)
    rows.selected = rows._rows.tokens[0]
    assert explorer.to == []
    explorer.to = ["OTHER", "WRONG"]  # the same edit, whatever the order
    assert explorer.task_result is first


def test_the_task_as_it_is_is_run_once(explorer, monkeypatch):
    edits, score = [], RUNS.score
    monkeypatch.setattr(
        RUNS, "score", lambda *given, edit, **more: edits.append(edit) or score(*given, edit=edit, **more)
    )
    explorer.finish()
    assert [edit is None for edit in edits] == [True, False] * 3
    explorer.to = ["OTHER"]
    explorer.finish()
    assert all(edits[6:])
    assert len(edits) == 9


def test_a_switched_on_task_follows_the_edit_and_not_the_prompt(talker, task):
    seen = []

    async def main() -> None:
        explorer = explore(talker, task)
        explorer.observe(lambda change: seen.append(change["new"] and change["new"].sizes["prompt"]), "task_result")
        explorer.panel.switch.value = True
        assert (explorer.busy, explorer.state, explorer.panel.cancel.disabled) == (True, "running the model …", False)
        await until(lambda: explorer.progress == 2)
        assert explorer.state.startswith("2 of 5 prompts so far · mean")
        explorer.prompt = 3
        assert (explorer.busy, explorer.progress, explorer.result.attrs["prompt"]) == (True, 2, 3)
        explorer.to = ["OTHER"]
        assert (explorer.busy, explorer.progress, explorer.task_result) == (True, 0, None)
        await until(lambda: not explorer.busy)
        assert explorer.task_result.attrs["to"] == "OTHER"
        assert explorer.panel.progress.bar_style == "success"

    asyncio.run(main())
    assert seen == [2, None, 2, 4, 5]
    assert hooks_left(talker) == 0


def test_cancel_keeps_what_is_done_and_finish_does_the_rest(talker, task):
    async def main() -> None:
        explorer = explore(talker, task)
        explorer.whole_task = True
        await until(lambda: explorer.progress == 2)
        explorer.panel.cancel.click()
        assert (explorer.busy, explorer.whole_task, explorer.progress) == (False, False, 2)
        assert explorer.task_result.sizes["prompt"] == 2
        assert explorer.state.startswith("stopped at 2 of 5 prompts")
        assert (explorer.runs, explorer.panel.progress.bar_style) == ([], "warning")
        explorer.to = ["OTHER"]
        assert (explorer.busy, explorer.task_result) == (False, None)
        assert explorer.finish().sizes["prompt"] == 5
        explorer.whole_task = True
        assert not explorer.busy  # it is done
        explorer.heads = ["0.0"]
        assert explorer.busy
        explorer.close()
        assert not explorer.busy

    asyncio.run(main())
    assert hooks_left(talker) == 0


def test_finish_does_what_an_interrupt_or_an_error_left(explorer, monkeypatch):
    score = RUNS.score

    def broken(error):
        def scored(model, part, **more):
            if more["edit"] is not None:
                raise error
            return score(model, part, **more)

        return scored

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RUNS, "score", broken(KeyboardInterrupt()))
        explorer.finish()
    assert (explorer.busy, explorer.error) == (False, "")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="RuntimeError: out of memory"):
        patch.setattr(RUNS, "score", broken(RuntimeError("out of memory")))
        explorer.finish()
    assert explorer.finish().sizes["prompt"] == 5
    assert (explorer.error, explorer.status.value[:4]) == ("", "1.2 ")


def test_traits_that_are_set_together_are_answered_once(explorer, monkeypatch):
    asked, answer = [], RUNS.PatternRuns.answer
    monkeypatch.setattr(
        RUNS.PatternRuns, "answer", lambda work, request: asked.append(request) or answer(work, request)
    )
    with explorer.hold_trait_notifications():
        explorer.heads, explorer.query, explorer.to = "0.0 0.1", "OTHER", "WRONG"
    assert asked == [(("0.0", "0.1"), "OTHER", ("WRONG",), 0)]


def test_results_are_told_to_those_who_observe_them(explorer):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), ["result", "task_result"])
    explorer.to = ["OTHER"]
    explorer.finish()
    assert [set(found.dims) for found in seen if "token" in found] == [set(explorer.result.dims)]
    assert [found.sizes["prompt"] for found in seen if "token" not in found] == [2, 4, 5]
    assert all(isinstance(found, xr.Dataset) for found in seen)


def test_nothing_is_left_on_the_model_after_any_events(talker, task):
    draw, reference = random.Random(0), forward(talker, task.clean.ids).logits
    names = [*THREE, "END", "S2", 0, 3, 6, 11]

    def event(explorer) -> None:
        happens = [
            lambda: setattr(explorer, "heads", draw.sample(["0.0", "1.2", "2.3", "7.7"], draw.randrange(3))),
            lambda: setattr(explorer, "query", draw.choice(names)),
            lambda: setattr(explorer, "to", draw.sample(names, draw.randrange(3))),
            lambda: setattr(explorer, "prompt", draw.randrange(5)),
            lambda: setattr(explorer, "whole_task", draw.random() < 0.5),
            lambda: setattr(explorer.views.after, "selected", draw.randrange(8)),
            lambda: setattr(explorer.views.before, "selected", draw.randrange(8)),
            explorer.free,
            explorer.cancel,
        ]
        draw.choice(happens)()

    async def main() -> None:
        explorer = explore(talker, task)
        for _ in range(150):
            event(explorer)
            await asyncio.sleep(0.002)
            assert hooks_left(talker) == 0
            assert torch.equal(forward(talker, task.clean.ids).logits, reference)
        explorer.cancel()
        explorer.free()
        explorer.heads, explorer.query = ["1.2"], "END"
        assert explorer.error == ""
        logits = explorer.result.logit_difference
        assert torch.equal(forward(talker, task.clean.ids).logits, reference)
        assert float(logits.sel(run="after")) == float(logits.sel(run="before"))
        assert len(explorer.runs) <= 20

    asyncio.run(main())


def test_clicks_from_another_thread_while_the_main_thread_runs_the_model(talker, task):
    async def main() -> None:
        explorer = explore(talker, task)
        reference = forward(talker, task.clean.ids).logits

        def click() -> None:
            for number in range(100):
                explorer.prompt = number % 5
                explorer.views.after.selected = number % 7
            explorer.whole_task, explorer.to = True, ["OTHER"]

        clicks = threading.Thread(target=click)
        clicks.start()
        for _ in range(20):
            assert torch.equal(forward(talker, task.clean.ids).logits, reference)
        clicks.join()
        await until(lambda: explorer.result.attrs["to"] == "OTHER" and explorer.progress == 5)
        assert (explorer.error, explorer.task_result.attrs["to"]) == ("", "OTHER")

    asyncio.run(main())
    assert hooks_left(talker) == 0


def test_the_explorer_leaves_a_picture_and_a_plain_repr(explorer, tmp_path):
    explorer.finish()
    bundle = explorer._repr_mimebundle_()
    asked = "heads=['1.2'], query='END', to=['WRONG', 'OTHER'], prompt=0"
    assert bundle["text/plain"] == repr(explorer) == f"PatternEditExplorer({asked})"
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert explorer.save(tmp_path / "explorer.html").stat().st_size > 5_000


@pytest.mark.model
def test_forcing_two_heads_onto_wrong_colors_makes_the_embedded_model_right(model):
    task = tasks.colored_objects(model, prompts=8)
    explorer = explorers.pattern_edit(model, task, head="20.0", to=["WRONG", "OTHER"])
    explorer.heads = ["20.0", "23.3"]
    found = explorer.finish()
    assert found.correct_among.sel(run="after").mean() > found.correct_among.sel(run="before").mean() + 0.3
    assert (found.logit_difference.sel(run="after") > found.logit_difference.sel(run="before")).all()
    assert hooks_left(model) == 0
