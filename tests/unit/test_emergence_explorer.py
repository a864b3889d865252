"""The emergence explorer: attention and answers on show are those of the network at the step, whatever is scrubbed."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import torch
import xarray as xr

from nbtools import explorers
from nbtools.errors import InputError
from nbtools.training import (
    ClassifierConfig,
    InContextProgress,
    InductionProgress,
    SinkProgress,
    TinyConfig,
    Trajectory,
    bigram_backcopy,
    in_context,
    markov_repeats,
    train,
)
from tests.unit.test_patching_explorer import until

DATA = in_context(classes=16, labels=4, pairs=4, dimensions=6, most_pairs=6, burstiness=2)
SIZES = {"places": 13, "dimensions": 6, "labels": 4, "d_mlp": 8}
MARKOV = markov_repeats()
TINY = TinyConfig(layers=2, heads=2, d_model=16, d_head=8, d_mlp=0, length=16, positions="attention")
BACKCOPY = bigram_backcopy()
ONE = TinyConfig(d_model=8, d_head=8, d_mlp=0, length=12)


def learned(layers=2, *, seed=0, keep=(0, 20, 40), **options):
    given = {"steps": 40, "batch": 16, "measure_every": 10, "measure": InContextProgress(DATA, sequences=16)}
    return train(ClassifierConfig(**SIZES, layers=layers), DATA, seed=seed, keep=keep, **given | options)


def read(config=TINY, data=MARKOV, *, seed=0):
    measure = {MARKOV: InductionProgress(MARKOV, 16, 8), BACKCOPY: SinkProgress(BACKCOPY, 12, 8)}[data]
    return train(config, data, steps=20, batch=4, measure_every=5, keep=[0, 20], seed=seed, measure=measure)


@pytest.fixture(scope="module")
def run():
    return learned()


@pytest.fixture(scope="module")
def tokens():
    return read()


@pytest.fixture
def explorer(run):
    return explorers.emergence(run)


@pytest.fixture
def reader(tokens):
    return explorers.emergence(tokens)


def sent(view, name, kind=np.float32):
    return np.frombuffer(view._frame[name], kind)


def test_the_last_step_is_on_show_first_with_the_curves_that_tell_most(explorer, run):
    names = ["loss_train", "in_context", "in_weights", "context_label", "item_label", "target_label"]
    assert explorer.curves._frame["names"] == [name.replace("_", " ") for name in names]
    for name, curve in zip(names, sent(explorer.curves, "mean").reshape(-1, 5), strict=True):
        np.testing.assert_array_equal(curve, np.float32(run.measures[name]))
    assert explorer.curves._frame["notes"][0] == "mean loss (train) since the step measured before, in nats"
    assert (explorer.step, explorer.kind, explorer.example, explorer.error) == (40, "novel", 0, "")
    assert repr(explorer) == "EmergenceExplorer('in_context', step=40)"
    assert explorer.result.attrs["step"] == 40


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_attention_and_answers_are_those_of_the_network_at_each_kept_step(layers):
    run = learned(layers)
    explorer = explorers.emergence(run, step=0)
    episodes = DATA.progress(0).episodes
    for step, kind, example in ((0, "novel", 0), (20, "swapped", 3), (40, "weights", 7)):
        explorer.step, explorer.kind, explorer.example = step, kind, example
        model, one = run.model(step), episodes[kind].tokens[example : example + 1]
        first, last = model.attention(one)
        found = explorer.result
        np.testing.assert_allclose(found["last"], last[0].detach(), atol=1e-6)
        np.testing.assert_allclose(found.probability, model(one)[0].softmax(-1).detach(), atol=1e-6)
        assert found.attrs == {
            "answer": int(episodes[kind].answer[example]),
            "step": step,
            "kind": kind,
            "example": example,
        }
        bars = explorer.last._rows.values
        np.testing.assert_allclose(bars[0], last[0, ::2].detach(), atol=1e-6)
        np.testing.assert_allclose(bars[1, :-1], last[0, 1::2].detach(), atol=1e-6)
        assert np.isnan(bars[1, -1])
        if layers == 1:
            assert explorer.first is None and len(explorer.rows[1]) == 1
        else:
            np.testing.assert_allclose(found["first"], first[0].detach(), atol=1e-6)
            np.testing.assert_allclose(explorer.first._patterns.numbers[0, 0], first[0].detach(), atol=1e-6)


def test_a_measured_step_shows_the_nearest_that_was_kept_and_says_so(explorer):
    explorer.curves.step = 31
    assert (explorer.step, explorer.result.attrs["step"]) == (30, 20)
    assert explorer.first.title == "layer 0 at step 20, the nearest that was kept"
    assert explorer.status.value.startswith("at step 20, the nearest that was kept: for ")
    explorer.step = 19
    assert (explorer.step, explorer.curves.step, explorer.first.title) == (20, 20, "layer 0 at step 20")


@pytest.mark.parametrize("kind", ["novel", "swapped", "weights"])
def test_letters_are_classes_numbers_are_labels_and_what_matches_is_marked(explorer, kind):
    explorer.kind = kind
    episodes, centers = DATA.progress(0).episodes[kind], DATA.class_vectors
    for example in range(12):
        explorer.example = example
        texts = explorer.result.key_token.values.tolist()
        labels, matching = episodes.context[example].tolist(), episodes.matching[example].tolist()
        assert [text.lstrip("▸") for text in texts[1::2]] == [str(label) for label in labels]
        assert [text.startswith("▸") for text in texts[:-1:2]] == matching
        assert [text.startswith("▸") for text in texts[1::2]] == matching
        items = [text.lstrip("▸") for text in texts[:-1:2]]
        target = texts[-1].removesuffix("′")
        assert [item == target for item in items] == matching
        if kind == "novel":  # each class has a label of its own
            assert len(set(zip(items, labels, strict=True))) == len(set(items)) == len(set(labels))
        else:
            near = torch.cdist(episodes.tokens[example, ::2, -6:], centers).argmin(1).tolist()[:-1]
            others = [pair for pair, same in zip(zip(items, near, strict=True), matching, strict=True) if not same]
            assert len(set(others)) == len({item for item, _ in others})


def test_what_is_answered_is_said_and_whether_it_is_right(explorer):
    said = set()
    for example in range(30):
        explorer.example = example
        found = explorer.result
        top, right = int(found.probability.values.argmax()), found.attrs["answer"]
        assert f"it answers {top} with probability {float(found.probability[top]):.2f}" in explorer.status.value
        assert explorer.status.value.endswith(": right") == (top == right)
        if top != right:
            there = top in DATA.progress(0).episodes["novel"].context[example]
            assert (
                f"{'another' if there else 'no'} label of the context: wrong, {right} is right" in explorer.status.value
            )
        said.add(top == right)
    assert said == {True, False}


def test_controls_and_traits_follow_each_other(explorer):
    explorer.controls.kind.value = "swapped"
    explorer.controls.example.value = 5
    explorer.controls.another.click()
    assert (explorer.kind, explorer.example, explorer.controls.example.value) == ("swapped", 6, 6)
    assert repr(explorer) == "EmergenceExplorer('in_context', step=40, kind='swapped', example=6)"
    explorer.example = 511
    explorer.controls.another.click()
    assert explorer.example == 0
    explorer.kind = "weights"
    assert explorer.controls.kind.value == "weights" and explorer.controls.about.value.startswith("items drawn one by")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kind", "old", "kind as one of novel, swapped, weights, got 'old'"),
        ("example", 512, "example from 0 to 511, got 512"),
        ("example", -1, "example from 0 to 511, got -1"),
        ("head", "1.0", "head as '': there is one, got '1.0'"),
        ("query", 3, "query as None, got 3"),
    ],
)
def test_what_does_not_fit_is_explained_and_loses_nothing(explorer, name, value, said):
    before, shown = getattr(explorer, name), explorer.result
    setattr(explorer, name, value)
    assert said in explorer.error and explorer.status.value == f"⚠ {explorer.error}"
    assert (getattr(explorer, name), explorer.result is shown) == (before, True)
    explorer.step = 20
    assert explorer.error == "" and explorer.result.attrs["step"] == 20


def test_each_look_is_computed_once_and_few_are_kept(explorer, monkeypatch):
    looked = []
    look = explorer._looks.look
    monkeypatch.setattr(explorer._looks, "look", lambda *asked: looked.append(asked[1:]) or look(*asked))
    for step in (0, 20, 30, 0, 40, 20):
        explorer.step = step
    assert len(looked) == 2  # the last step was looked at before
    for example in range(100):
        explorer.example = example
    assert explorer._look.cache_info().currsize == 64


def test_a_click_on_another_thread_never_runs_the_model_there(reader, monkeypatch):
    ran, look = [], reader._looks.look
    monkeypatch.setattr(reader._looks, "look", lambda *asked: ran.append(threading.get_ident()) or look(*asked))

    async def main():
        explorer = explorers.emergence(reader.run)
        monkeypatch.setattr(explorer._looks, "look", reader._looks.look)
        await asyncio.to_thread(lambda: [setattr(explorer, "kind", "repeated"), setattr(explorer, "query", 40)])
        await until(lambda: explorer.result.attrs["kind"] == "repeated")
        assert explorer.query == explorer.last.query == explorer._looks.asked("repeated", 0)

    asyncio.run(main())
    assert ran == [threading.get_ident()]


def test_other_seeds_are_a_band_in_which_each_counts_once(run):
    others = learned(seed=[0, 1, 2], keep=())
    for seeds in (others, others.measures, [learned(seed=1, keep=()), others.measures.sel(seed=[2])]):
        explorer = explorers.emergence(run, seeds=seeds)
        assert explorer.curves._frame["band"] == "mean and range of 3 seeds"
        values = others.measures.in_context.values
        np.testing.assert_allclose(sent(explorer.curves, "mean").reshape(6, 5)[1], values.mean(1), atol=1e-6)
        np.testing.assert_allclose(sent(explorer.curves, "high").reshape(6, 5)[1], values.max(1), atol=1e-6)
        assert explorer.curves.title == "mean of 3 seeds; below it seed 0"
    for alone in ({}, {"seeds": run}):
        explorer = explorers.emergence(run, **alone)
        assert (explorer.curves.title, explorer.curves._frame["band"]) == ("", "")


def test_of_networks_side_by_side_the_first_is_looked_at():
    run = learned(seed=[3, 1])
    explorer = explorers.emergence(run)
    alone = explorers.emergence(learned(seed=3))
    np.testing.assert_allclose(explorer.result["last"], alone.result["last"], atol=1e-5)
    assert explorer.curves.title == "mean of 2 seeds; below it seed 3"


def test_names_choose_the_curves(run):
    explorer = explorers.emergence(run, names={"any_label": "looks at labels", "swapped": "swapped"})
    assert explorer.curves._frame["names"] == ["looks at labels", "swapped"]


def test_heads_of_both_layers_are_on_show_for_tokens(reader, tokens):
    assert list(reader.kinds) == ["random", "repeated", "novel"]
    assert reader.curves._frame["names"] == [
        "repeated accuracy", "loss repeated", "loss novel", "layer 0: previous token", "layer 1: induction",
        "layer 1: sink novel", "layer 1: sink repeated",
    ]  # fmt: skip
    curves = sent(reader.curves, "mean").reshape(7, 5)
    np.testing.assert_array_equal(curves[3], np.float32(tokens.measures.previous_token.sel(layer=0)))
    np.testing.assert_array_equal(curves[4], np.float32(tokens.measures.induction.sel(layer=1)))
    for step, kind, example in ((0, "random", 0), (20, "repeated", 2), (20, "novel", 9)):
        reader.step, reader.kind, reader.example = step, kind, example
        ids = reader._looks._ids[kind][[example], :-1]
        logits, cache = tokens.model(step).run_with_cache(ids)
        np.testing.assert_allclose(reader.result.probability, logits[0].softmax(-1).detach(), atol=1e-6)
        for view, layer in ((reader.first, 0), (reader.last, 1)):
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0].detach()
            np.testing.assert_allclose(view._patterns.numbers[0], pattern, atol=1e-6)
            assert view._patterns.labels == [f"{layer}.0", f"{layer}.1"]
            assert list(view._tokens) == [MARKOV.labels[token] for token in ids[0]]


def test_kinds_of_token_sequences_are_what_they_are_called(reader):
    known = {kind: MARKOV.domains(ids[:, :-1])["repeated"].any(1) for kind, ids in reader._looks._ids.items()}
    assert known["random"].all() and known["repeated"].all() and not known["novel"].any()


def test_a_query_is_asked_about_and_the_first_layer_shows_where_induction_looks(reader):
    found = reader.result
    texts = found.query_token.values.tolist()
    assert found.known[reader.query] and reader.last.query == reader.query
    source = reader.first.query
    assert texts[source - 1] == texts[reader.query] and texts[source - 1] not in texts[source : reader.query]
    said = MARKOV.labels[int(found.probability.values[reader.query].argmax())]
    assert f"after {texts[reader.query]} at {reader.query} it expects {said} with probability" in reader.status.value
    reader.last.query = 2  # as a click does
    assert (reader.query, reader.first.query) == (2, None)
    reader.last.query = None
    assert reader.query is None
    right = (found.probability.values.argmax(1) == found.next.values)[found.known.values]
    assert f"right about {right.sum()} of {len(right)} tokens that can be known" in reader.status.value
    reader.query = 40
    assert "expected query from 0 to 13" in reader.error and reader.query is None
    reader.kind = "novel"
    assert reader.query == 15 == reader.last.query
    reader.query = None
    assert reader.status.value.endswith("no token can be known")


def test_a_head_follows_the_hand_and_stays_while_the_step_moves(reader):
    first, last = ("0.0", "0.1"), ("1.0", "1.1")
    for own, other in zip(first, last, strict=True):
        reader.first.head, reader.last.head = own, other
        assert (reader.first_head, reader.head) == (own, other)
        reader.step = 20 - reader.step
        assert (reader.first.head, reader.last.head) == (own, other)
    reader.head = "1.0"
    assert reader.last.head == "1.0"
    reader.head = "0.0"
    assert reader.head == "1.0" and "expected head as one of 1.0, 1.1, got '0.0'" in reader.error


def test_the_heads_first_on_show_are_those_that_come_to_look_at_the_token_before_and_after_the_same(reader):
    found = reader.result
    before = found["first"].values.diagonal(-1, 1, 2).mean(1)
    again = np.flatnonzero(found.source.values > 0)
    induction = found["last"].values[:, again, found.source.values[again]].sum(1)
    assert (reader.first_head, reader.head) == (f"0.{before.argmax()}", f"1.{induction.argmax()}")


def test_curves_of_other_seeds_for_tokens_have_their_layers(tokens):
    other = read(seed=1)
    explorer = explorers.emergence(tokens, seeds=other)
    mean = (tokens.measures.induction + other.measures.induction.drop_vars("seed")).sel(layer=1) / 2
    np.testing.assert_allclose(sent(explorer.curves, "mean").reshape(7, 5)[4], mean, atol=1e-6)


def test_other_data_of_tokens_and_a_single_layer_are_shown_as_well():
    explorer = explorers.emergence(read(ONE, BACKCOPY))
    assert list(explorer.kinds) == ["train"] and explorer.first is None
    assert (explorer.head, explorer.first_head, explorer.last.query) == ("0.0", "", explorer.query)
    assert "sink" in explorer.curves._frame["names"]
    explorer.step = 0
    assert explorer.result.attrs["step"] == 0 and explorer.result["last"].dims == ("head", "query", "key")


def test_a_training_that_diverged_is_explained_at_its_steps_only(tokens):
    broken = {name: values.clone() for name, values in tokens.checkpoints.items()}
    broken["embed.W_E"][-1] = float("nan")
    run = Trajectory(tokens.config, tokens.data, tokens.about, tokens.measures, tokens.kept, broken)
    with pytest.raises(InputError, match="at step 20 attention or answers are not finite"):
        explorers.emergence(run)
    explorer = explorers.emergence(run, step=0)
    explorer.step = 20
    assert "training diverged" in explorer.error and explorer.result.attrs["step"] == 0
    explorer.kind = "novel"
    explorer.step = 0
    assert explorer.error == "" and explorer.result.attrs["kind"] == "novel"


def test_what_is_stored_is_a_picture_that_is_the_same_each_time(run):
    one, two = (explorers.emergence(run, step=20)._repr_mimebundle_() for _ in range(2))
    assert one["image/png"] == two["image/png"] and one["image/png"].startswith(b"\x89PNG")
    assert one["text/plain"] == "EmergenceExplorer('in_context', step=20)"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: explorers.emergence(run.measures), "expected a Trajectory, .* got Dataset"),
        (lambda run: explorers.emergence(learned(keep=())), "train again with keep=50"),
        (lambda run: explorers.emergence(run, example=512), "example from 0 to 511, got 512"),
        (lambda run: explorers.emergence(run, names=["sink"]), "got 'sink'"),
        (lambda run: explorers.emergence(run, seeds=3), "expected seeds= as a Trajectory, .* got int"),
        (lambda run: explorers.emergence(run, seeds=xr.Dataset()), "a Dataset without step"),
        (lambda run: explorers.emergence(run, seeds=read()), "got some without in_context"),
        (
            lambda run: explorers.emergence(run, seeds=run.measures.isel(step=[1]).assign_coords(seed=1)),
            "fewer than two",
        ),
        (
            lambda run: explorers.emergence(read(TinyConfig(length=12, attention="none"), BACKCOPY)),
            "without: set attention=",
        ),
    ],
)
def test_what_does_not_fit_is_refused(run, call, said):
    with pytest.raises(InputError, match=said):
        call(run)
