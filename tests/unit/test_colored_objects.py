"""Colored objects: questions about three things that differ from their corrupted ones in the thing that is asked."""

from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nbtools.errors import InputError, PromptError
from nbtools.tasks import candidates, colored_objects, facts, pair
from nbtools.tasks._draws import table

TABLE = table("colored_objects")
pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=range(len(TABLE["templates"])))
def task(model, request):
    return colored_objects(model, prompts=24, template=request.param, seed=3)


def word(labels: list[str], place: int) -> str:
    return labels[place].strip()


def test_the_pair_differs_in_the_thing_that_is_asked_and_nowhere_else(task):
    differ = task.clean.ids != task.corrupted.ids
    assert [row.nonzero().flatten().tolist() for row in differ] == [[place] for place in task.positions["ASKED"]]
    assert task.clean.ids.shape == task.corrupted.ids.shape == (24, task.end + 1)


def test_the_answer_is_the_color_of_the_thing_and_the_wrong_one_that_of_the_other_question(task):
    for row, (ours, theirs) in enumerate(zip(task.clean.labels, task.corrupted.labels, strict=True)):
        place = {name: places[row] for name, places in task.positions.items()}
        assert word(ours, place["OBJECT"]) == word(ours, place["ASKED"])
        assert place["ANSWER"] == place["OBJECT"] - 1, "the color stands before its thing"
        assert word(theirs, place["WRONG"] + 1) == word(theirs, place["ASKED"])
        assert task.texts[int(task.answer[row])].strip() == word(ours, place["ANSWER"])
        assert task.texts[int(task.wrong[row])].strip() == word(ours, place["WRONG"])
        assert place["OBJECT"] < place["ASKED"] < place["END"] == task.end


def test_the_three_colors_are_at_the_same_places_in_all_prompts_and_each_comes_first_sometimes(task):
    three = np.array([task.positions[name] for name in ("ANSWER", "WRONG", "OTHER")]).T
    assert len({tuple(sorted(row)) for row in three.tolist()}) == 1
    assert all(len(set(row)) == 3 for row in three.tolist())
    assert len(Counter(task.positions["ANSWER"])) == 3


def test_the_solved_question_is_right_and_shares_no_word_with_the_other(task):
    for labels in task.clean.labels:
        solved, question = "".join(labels).split("\n\n")
        answer = solved.split()[-1]
        words = [text.strip(" .,:?\n") for text in solved.replace(",", " ").split()]
        thing = next(words[at + 1] for at, text in enumerate(words) if text == answer)
        assert words.count(thing) == 2 and words.count(answer) == 2
        for kind in ("colors", "objects", "surfaces"):
            ours, theirs = (set(TABLE[kind]) & set(re.findall(r"\w+", part)) for part in (solved, question))
            assert ours and theirs and not ours & theirs


def test_the_candidates_are_the_three_colors_answer_first_also_of_a_part_of_the_task(task):
    found = candidates(task)
    assert torch.equal(found[:, :2], torch.stack([task.answer, task.wrong], 1))
    names = {word(task.clean.labels[row], place) for row in range(24) for place in [task.positions["OTHER"][row]]}
    assert names <= set(TABLE["colors"]) and all(len(set(row)) == 3 for row in found.tolist())
    assert torch.equal(candidates(task[3:5]), found[3:5])
    assert torch.equal(candidates(task.swap())[:, 0], task.answer), "the places stay where they are"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_seed_gives_the_same_prompts_and_another_seed_others(model, seed):
    first, again, other = (colored_objects(model, prompts=3, seed=at) for at in (seed, seed, seed + 1))
    assert torch.equal(first.clean.ids, again.clean.ids) and torch.equal(first.answer, again.answer)
    assert not torch.equal(first.clean.ids, other.clean.ids)
    assert torch.equal(first.clean.ids[:2], colored_objects(model, prompts=2, seed=seed).clean.ids)


def test_it_can_be_patched_like_any_task(model):
    from nbtools.patching import patch

    task = colored_objects(model, prompts=2)
    effect = patch(model, task, "resid_pre", layers=[0, 29], positions=["ASKED", "END"])
    np.testing.assert_allclose(effect.sel(layer=0, position="ASKED"), 1, atol=1e-3)
    np.testing.assert_allclose(effect.sel(layer=0, position="END"), 0, atol=1e-3)


def test_one_prompt_is_one_prompt(model):
    assert colored_objects(model, prompts=1).single


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompts": 0}, "prompts to be a whole number from 1, got 0"),
        ({"template": len(TABLE["templates"])}, "template to be one of 0, 1, 2, got 3"),
        ({"template": None}, "got None"),
    ],
)
def test_what_is_not_an_option_is_refused(model, options, said):
    with pytest.raises(InputError, match=said):
        colored_objects(model, **options)


def test_a_model_without_a_tokenizer_is_refused(tiny):
    with pytest.raises(PromptError, match="no tokenizer"):
        colored_objects(tiny)


def test_a_tokenizer_that_splits_the_words_is_refused_and_they_are_named(model):
    def letters(text, add_special_tokens=False):
        return SimpleNamespace(input_ids=[ord(letter) for letter in text])

    letters.decode = lambda row, **_: "".join(map(chr, row))
    with pytest.raises(PromptError, match=r"6 colors of one token, .* has 0: it splits red, blue, .*tasks.pair"):
        colored_objects(SimpleNamespace(tokenizer=letters, cfg=model.cfg))


def test_a_task_of_another_kind_has_no_candidates(model):
    with pytest.raises(InputError, match="ANSWER, WRONG, OTHER, got SUBJECT, END"):
        candidates(facts(model, relation="capital", prompts=2))
    one = pair(model, "The hat is red", "The hat is blue", " red", " blue", positions={"ANSWER": 3})
    with pytest.raises(InputError, match="got ANSWER, END"):
        candidates(one)
