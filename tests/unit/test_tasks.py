"""Tasks: pairs that differ only where they should, answers of one token, and sentences for what does not fit."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from nbtools.errors import ArrayError, InputError, PromptError
from nbtools.models.tokens import tokens
from nbtools.runs import forward
from nbtools.tasks import LogitDifference, Probability, Task, facts, ioi, pair
from nbtools.tasks._draws import table, usual
from nbtools.tasks._one import one_token, single_tokens
from tests.conftest import VOCABULARY

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
CHANGED = {
    "s2_io": {"S2"},
    "s2_new": {"S2"},
    "io_new": {"IO"},
    "s1_new": {"S1"},
    "order": {"IO", "S1"},
    "names": {"IO", "S1", "S2"},
    "abc": {"IO", "S1", "S2"},
}
RELATIONS = list(table("facts"))
TEMPLATES = range(len(table("ioi")["templates"]))


def differences(task: Task) -> list[set[int]]:
    return [set(row.nonzero()[:, 0].tolist()) for row in task.clean.ids != task.corrupted.ids]


def texts(task: Task) -> list[str]:
    return ["".join(labels) for side in (task.clean, task.corrupted) for labels in side.labels]


def read(model, task: Task, metric=None) -> torch.Tensor:
    return (metric or task.metric)(forward(model, task.clean).logits[:, task.end])


@pytest.fixture
def by_ids(tiny) -> Task:
    """Three pairs for a model without a tokenizer; the pairs differ first at 2, 0 and 1."""
    clean = torch.arange(15).reshape(3, 5)
    corrupted = clean.clone()
    corrupted[0, 2], corrupted[1, [0, 4]], corrupted[2, 1] = 50, 51, 52
    return pair(tiny, clean, corrupted, [60, 61, 62], [70, 71, 72], positions={"A": 1, "B": [-1, 0, 3]})


# A task


def test_a_task_of_ids_needs_no_tokenizer_and_names_the_last_position(by_ids):
    assert by_ids.positions == {"A": [1, 1, 1], "B": [4, 0, 3], "END": [4, 4, 4]}
    assert (by_ids.answer.tolist(), by_ids.wrong.tolist()) == ([60, 61, 62], [70, 71, 72])
    assert by_ids.first_difference == [2, 0, 1]
    assert (by_ids.end, len(by_ids), by_ids.single, by_ids.clean.single) == (4, 3, False, False)
    assert repr(by_ids) == "Task('pair', prompts=3, positions=5: A B END, model='tiny-llama')"


@pytest.mark.parametrize("index", [1, -2, torch.tensor(1)])
def test_a_number_gives_one_prompt(by_ids, index):
    one = by_ids[index]
    assert (len(one), one.single, one.clean.single, one.corrupted.single) == (1, True, True, True)
    assert (one.clean.ids.tolist(), one.clean.labels) == ([[5, 6, 7, 8, 9]], [["5", "6", "7", "8", "9"]])
    assert (one.positions["B"], one.answer.tolist(), one.first_difference) == ([0], [61], [0])


def test_a_slice_gives_its_prompts_and_a_loop_all_of_them(by_ids):
    assert [len(by_ids[:2]), len(by_ids[::2]), len(by_ids[-1:])] == [2, 2, 1]
    assert (by_ids[::2].wrong.tolist(), by_ids[::2].positions["B"]) == ([70, 72], [4, 3])
    assert (by_ids[-1:].single, by_ids[:2].single) == (True, False)
    assert [one.answer.item() for one in by_ids] == [60, 61, 62]


@pytest.mark.parametrize(
    ("index", "said"), [(3, "from 0 to 2 or a slice, got 3"), ("a", "got 'a'"), (slice(3, 9), "leaves none of")]
)
def test_a_prompt_that_is_not_there_is_refused(by_ids, index, said):
    with pytest.raises(InputError, match=said):
        by_ids[index]


def test_swapping_exchanges_the_runs_and_the_answers_and_twice_is_nothing(by_ids):
    back = by_ids.swap()
    assert back.clean is by_ids.corrupted and back.corrupted is by_ids.clean
    assert back.answer is by_ids.wrong and back.wrong is by_ids.answer
    assert (back.positions, back.name, repr(back)) == (by_ids.positions, by_ids.name, repr(by_ids))
    assert vars(back.swap()) == vars(by_ids)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": torch.tensor([1, 2])}, r"one answer token for each of 3 prompts, got shape \(2,\)"),
        ({"positions": {}}, "END, the last position, 4, for each prompt, got None"),
        ({"positions": {"A": [0, 1, 5], "END": [4] * 3}}, "A to be 3 positions from 0 to 4"),
        ({"positions": {"A": [0], "END": [4] * 3}}, "A to be 3 positions"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(by_ids, changed, said):
    with pytest.raises(ArrayError, match=said):
        replace(by_ids, **changed)


def test_sides_of_different_shapes_are_refused(by_ids):
    with pytest.raises(ArrayError, match=r"same shape, got \(3, 5\) and \(1, 5\)"):
        replace(by_ids, corrupted=by_ids[0].corrupted)


def test_the_picture_marks_what_differs_and_escapes_everything(by_ids):
    hostile = '</script><img src="x" onerror=a>'
    labels = [[hostile, "\n", " b", "c", "d"]] * 3
    task = replace(by_ids, name="<b>", clean=replace(by_ids.clean, labels=labels), texts={60: "<i>", 70: " &"})
    html = task._repr_html_()
    for raw in ("<script", "<img", "<b>", "<i>"):
        assert raw not in html
    assert html.count("&lt;/script&gt;&lt;img·src=&quot;x&quot;") == 3 and "&lt;i&gt;" in html and "·&amp;" in html
    assert html.count("<mark") == 2 * 4, "four tokens differ, on both sides"
    assert "·b</mark>" in html and "↵" in html
    assert html == task._repr_html_() and " id=" not in html


def test_the_picture_shows_a_few_pairs_and_says_how_many_more(tiny):
    clean = torch.arange(30).reshape(6, 5)
    task = pair(tiny, clean, clean + 1, list(range(6)), list(range(10, 16)))
    assert task._repr_html_().count("<tr>") == 1 + 4 and "and 2 more" in task._repr_html_()
    assert "more" not in task[:4]._repr_html_()


# Metrics


def test_the_logit_difference_reads_each_row_for_its_prompt():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    metric = LogitDifference(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]))
    prompt = torch.tensor([2, 0, 1, 2])
    expected = torch.stack([logits[row, answer] - logits[row, answer + 3] for row, answer in enumerate([3, 1, 2, 3])])
    assert torch.equal(metric(logits, prompt), expected)
    assert torch.equal(metric(logits[[1, 2, 3]]), metric(logits[[1, 2, 3]], torch.arange(3)))
    assert (metric.name, metric.units, repr(metric)) == ("logit difference", "nats", "LogitDifference(prompts=3)")


def test_the_probability_is_that_of_the_softmax():
    logits = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    metric = Probability(torch.tensor([3, 6]))
    assert torch.allclose(metric(logits), logits.softmax(-1)[[0, 1], [3, 6]])
    assert (metric.name, metric.units, repr(metric)) == ("probability", "probability", "Probability(prompts=2)")


def test_half_precision_is_read_in_single_precision_and_gradients_pass():
    logits = torch.tensor([[100.0, 99.5, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    value = LogitDifference(torch.tensor([0]), torch.tensor([1]))(logits)
    assert (value.dtype, value.item()) == (torch.float32, 0.5)
    value.sum().backward()
    assert logits.grad.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize(("shape", "said"), [((2, 5, 7), "of one position"), ((3, 7), "each of 2 prompts, got 3")])
def test_logits_of_another_shape_are_refused(shape, said):
    with pytest.raises(ArrayError, match=said):
        LogitDifference(torch.tensor([0, 1]), torch.tensor([2, 3]))(torch.zeros(shape))


# One's own prompts


@pytest.mark.model
def test_a_pair_of_texts_is_read_as_it_is_written(model):
    task = pair(model, FRANCE, ITALY, " Paris", " Rome", positions={"SUBJECT": "France", "VERB": -1})
    assert texts(task) == [FRANCE, ITALY]
    assert [task.texts[token] for token in (task.answer.item(), task.wrong.item())] == [" Paris", " Rome"]
    assert (task.single, task.positions) == (True, {"SUBJECT": [3], "VERB": [4], "END": [4]})
    assert read(model, task).item() > 3
    assert read(model, task, Probability(task.answer)).item() > 0.1


@pytest.mark.model
def test_lists_give_one_answer_and_one_position_for_each_prompt(model):
    clean = [FRANCE, "The city of Milan is"]
    corrupted = [ITALY, "The city of Paris is"]
    task = pair(model, clean, corrupted, [" Paris", " Italian"], [" Rome", " French"], positions={"X": ["France", 1]})
    assert (len(task), task.positions["X"], task.first_difference) == (2, [3, 1], [3, 3])


@pytest.mark.model
def test_prompts_can_be_ids_in_any_form_and_answers_still_text(model):
    clean, corrupted = (tokens(model, text) for text in (FRANCE, ITALY))
    expected = pair(model, FRANCE, ITALY, " Paris", " Rome")
    for first, second in ((clean, corrupted), (clean.ids, corrupted.ids[0].tolist()), (clean.ids[0], [corrupted.ids])):
        second = second[0] if isinstance(second, list) and torch.is_tensor(second[0]) else second
        task = pair(model, first, second, " Paris", " Rome", positions={"S": "France"})
        assert torch.equal(task.clean.ids, expected.clean.ids) and torch.equal(task.answer, expected.answer)
        assert task.positions["S"] == [3]


@pytest.mark.model
@pytest.mark.parametrize(
    ("fragment", "place"),
    [("France", 3), (" France", 3), ("capital of", 2), ("apit", 1), ("The", 0), ("capital of France is", 4)],
)
def test_a_fragment_means_its_last_token(model, fragment, place):
    assert pair(model, FRANCE, ITALY, " Paris", " Rome", positions={"X": fragment}).positions["X"] == [place]


@pytest.mark.model
def test_a_fragment_of_characters_that_are_several_tokens_is_found(model):
    clean, corrupted = "A 𝕏 and Zoë met", "B 𝕏 and Zoë met"
    read_as = tokens(model, clean)
    task = pair(model, clean, corrupted, " at", " in", positions={"X": "𝕏", "Z": "Zoë"})
    before = tokens(model, "A 𝕏").ids.shape[1]
    assert task.positions["X"] == [before - 1]
    assert task.positions["Z"] == [len(read_as) - 2]


@pytest.mark.model
def test_a_model_that_prepends_a_token_shifts_positions_and_not_answers(model, monkeypatch):
    plain = pair(model, FRANCE, ITALY, " Paris", " Rome", positions={"S": "France"})
    sentence = ioi(model, prompts=2)
    monkeypatch.setattr(model.cfg, "default_prepend_bos", True)
    task = pair(model, FRANCE, ITALY, " Paris", " Rome", positions={"S": "France"})
    assert task.clean.ids[0, 0].item() == model.tokenizer.bos_token_id
    assert (task.positions["S"], task.end) == ([4], plain.end + 1)
    assert torch.equal(task.answer, plain.answer)
    shifted = ioi(model, prompts=2)
    assert torch.equal(shifted.answer, sentence.answer)
    assert shifted.positions["S2"] == [place + 1 for place in sentence.positions["S2"]]


@pytest.mark.model
def test_an_answer_after_a_trailing_space_is_taken_as_it_is(model):
    task = pair(model, FRANCE + " ", ITALY + " ", "Paris", "Rome")
    assert [task.texts[token] for token in (task.answer.item(), task.wrong.item())] == ["Paris", "Rome"]


PAIR_ERRORS = {
    "several tokens": (
        (FRANCE, ITALY, " Paris today", " Rome"),
        "the answer of prompt 0 (The ·capital ·of ·France ·is) to be one token, got ' Paris today', which becomes "
        "' Paris', ' today': choose another word, or give a token id",
    ),
    "no space, several tokens": ((FRANCE, ITALY, " Paris", "Lisbon"), "write ' Lisbon', with the space, which is one"),
    "no space, one token": (
        (FRANCE, ITALY, "Paris", " Rome"),
        "'Paris', has no space before it, the text would read 'isParis': write ' Paris', with the space, which is one "
        "token; if it is meant, give the token id",
    ),
    "nothing": ((FRANCE, ITALY, "", " Rome"), "got '', which becomes nothing"),
    "no such id": ((FRANCE, ITALY, 10**6, " Rome"), "of one token or an id from 0 to 49151, got 1000000"),
    "no answer at all": ((FRANCE, ITALY, None, " Rome"), "got None"),
    "the same answers": (
        (FRANCE, ITALY, " Paris", " Paris"),
        "prompt 0 (The ·capital ·of ·France ·is) has ' Paris' both as answer and as wrong token",
    ),
    "identical prompts": (
        ([ITALY, FRANCE], [FRANCE, FRANCE], [" Rome", " Paris"], [" Paris", " Rome"]),
        "prompt 1 (The ·capital ·of ·France ·is) is the same clean and corrupted",
    ),
    "unequal lengths": (
        ([FRANCE, FRANCE], [ITALY, "The capital of New Zealand is"], [" Paris"] * 2, [" Rome"] * 2),
        "clean prompt 1 has 5 (The ·capital ·of ·France ·is), corrupted prompt 1 has 6 (The ·capital ·of ·New ",
    ),
    "unequal prompts": (
        ([FRANCE, "In France"], [ITALY, "In Italy"], [" Paris"] * 2, [" Rome"] * 2),
        "prompt 0 has 5 (The ·capital ·of ·France ·is), prompt 1 has 2 (In ·France): reword one of them",
    ),
    "an empty prompt": (
        ([FRANCE, ""], [ITALY, ITALY], [" Paris"] * 2, [" Rome"] * 2),
        "clean prompt 1 (''): the promp",
    ),
    "too few corrupted": (([FRANCE, ITALY], [ITALY], [" Paris"] * 2, [" Rome"] * 2), "got 2 clean and 1 corrupted"),
    "too few answers": (([FRANCE, ITALY], [ITALY, FRANCE], " Paris", [" Rome"] * 2), "2 answers, one for each prompt"),
    "too deep": (([[[1, 2], [3, 4]]], [[[1, 2], [3, 5]]], " Paris", " Rome"), "clean prompt 0 is a list of 2 prompts"),
}


@pytest.mark.model
@pytest.mark.parametrize(("given", "said"), PAIR_ERRORS.values(), ids=PAIR_ERRORS)
def test_a_pair_that_does_not_fit_is_refused_by_number_and_text(model, given, said):
    with pytest.raises(PromptError) as caught:
        pair(model, *given)
    assert said in str(caught.value)


@pytest.mark.model
@pytest.mark.parametrize(
    ("places", "said"),
    [
        ("Spain", "to occur once in prompt 0 (The ·capital ·of ·France ·is), it does not at all: give a fragment"),
        ("a", "it does 3 times, ending at positions 1, 1, 3:"),
        ("", "it does not at all"),
        (5, "outside prompt 0 (The ·capital ·of ·France ·is): expected text or -5 to 4, got 5"),
        (1.5, "got 1.5"),
        ([1, 2], "position 'X' once, or for each of 1 prompts, got 2"),
    ],
)
def test_a_position_that_is_not_there_is_refused(model, places, said):
    given = {"X": [places] if isinstance(places, float) else places}
    with pytest.raises(PromptError) as caught:
        pair(model, FRANCE, ITALY, " Paris", " Rome", positions=given)
    assert said in str(caught.value)


@pytest.mark.model
def test_the_last_position_cannot_be_renamed(model):
    with pytest.raises(PromptError, match="leave END out"):
        pair(model, FRANCE, ITALY, " Paris", " Rome", positions={"END": 0})


@pytest.mark.model
def test_a_glued_answer_can_be_meant_by_its_id(model):
    glued = model.tokenizer("Paris", add_special_tokens=False).input_ids[0]
    assert pair(model, FRANCE, ITALY, glued, " Rome").texts[glued] == "Paris"


@pytest.mark.parametrize(
    ("given", "positions", "said"),
    [
        ((FRANCE, ITALY, 1, 2), {}, "no tokenizer: pass token ids instead of text"),
        (([1, 2], [1, 3], " Paris", 2), {}, "no tokenizer, the answer of prompt 0 (1 2), ' Paris', is text"),
        (([1, 2], [1, 3], 4, 5), {"X": "1"}, "no tokenizer, position 'X', '1', is text"),
        (([1, 2], [1, 3], 4, VOCABULARY), {}, f"an id from 0 to {VOCABULARY - 1}, got {VOCABULARY}"),
    ],
)
def test_text_for_a_model_without_a_tokenizer_is_refused(tiny, given, positions, said):
    with pytest.raises(PromptError) as caught:
        pair(tiny, *given, positions=positions)
    assert said in str(caught.value)


@pytest.fixture
def words_with_marks():
    """A tokenizer that marks the beginnings of words, as SentencePiece does, and knows few of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", *(f"▁{word}" for word in ("the", "The", "capital", "is", "Paris", "Rome", "Ruth"))]
    tokenizer = Tokenizer(models.WordLevel({piece: place for place, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    return SimpleNamespace(tokenizer=fast, cfg=SimpleNamespace(d_vocab=len(pieces)))


def test_answers_and_words_are_tokens_as_they_stand_in_a_sentence(words_with_marks):
    assert one_token(words_with_marks, " Paris", "The capital is", "the answer") == 5
    assert single_tokens(words_with_marks, ["Rome", "Ruth"]) == {"Rome": 6, "Ruth": 7}


def test_a_word_the_tokenizer_does_not_know_is_no_answer(words_with_marks):
    with pytest.raises(PromptError, match="got ' Oslo', which becomes '<unk>'"):
        one_token(words_with_marks, " Oslo", "The capital is", "the answer")


# Indirect object identification


@pytest.mark.model
@pytest.mark.parametrize("order", ["ABBA", "BABA", "both"])
@pytest.mark.parametrize("corruption", CHANGED)
def test_a_pair_differs_at_the_names_its_corruption_changes_and_nowhere_else(model, corruption, order):
    task = ioi(model, prompts=6, corruption=corruption, order=order, seed=2)
    expected = [{task.positions[name][row] for name in CHANGED[corruption]} for row in range(6)]
    assert differences(task) == expected
    assert task.first_difference == [min(places) for places in expected]


@pytest.mark.model
@pytest.mark.parametrize("corruption", CHANGED)
def test_names_stand_where_the_positions_say_and_are_replaced_as_the_corruption_says(model, corruption):
    for one in ioi(model, prompts=8, corruption=corruption):
        clean, corrupted = (
            {n: s.ids[0, p[0]].item() for n, p in one.positions.items()} for s in (one.clean, one.corrupted)
        )
        io, s = one.answer.item(), one.wrong.item()
        assert (clean["IO"], clean["S1"], clean["S2"]) == (io, s, s)
        after = (corrupted["IO"], corrupted["S1"], corrupted["S2"])
        new = set(after) - {io, s}
        expected = {"s2_io": (io, s, io), "order": (s, io, s), "names": (s, io, io)}
        assert after == expected.get(corruption, after)
        assert len(new) == {"s2_new": 1, "io_new": 1, "s1_new": 1, "abc": 3}.get(corruption, 0)
        assert one.positions["S1+1"][0] == one.positions["S1"][0] + 1


@pytest.mark.model
def test_the_clean_prompts_of_a_seed_are_the_same_for_every_corruption_and_number(model):
    first = ioi(model, prompts=8, seed=3)
    for corruption in CHANGED:
        assert torch.equal(ioi(model, prompts=8, seed=3, corruption=corruption).clean.ids, first.clean.ids)
    assert torch.equal(ioi(model, prompts=3, seed=3).corrupted.ids, first.corrupted.ids[:3])


@pytest.mark.model
@pytest.mark.parametrize("make", [ioi, facts])
def test_a_seed_decides_the_draw_and_the_global_generators_are_left_alone(model, make):
    random.seed(1)
    torch.manual_seed(1)
    states = random.getstate(), torch.get_rng_state()
    first, again, other = (make(model, prompts=5, seed=seed) for seed in (4, 4, 5))
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert texts(first) == texts(again) != texts(other)
    assert repr(first) == repr(again) and first.positions == again.positions


@pytest.mark.model
def test_orders_say_who_is_introduced_first(model):
    abba, baba, both = (ioi(model, prompts=4, order=order) for order in ("ABBA", "BABA", "both"))
    assert all(io < s1 for io, s1 in zip(abba.positions["IO"], abba.positions["S1"], strict=True))
    assert all(io > s1 for io, s1 in zip(baba.positions["IO"], baba.positions["S1"], strict=True))
    assert sum(io < s1 for io, s1 in zip(both.positions["IO"], both.positions["S1"], strict=True)) == 2


@pytest.mark.model
def test_all_sentences_of_the_usual_length_take_turns_in_both_orders(model):
    names = set(single_tokens(model, table("ioi")["names"]))
    many = ioi(model, prompts=2 * 17)
    shapes = Counter((labels[0], labels[1], io < s1, s2) for labels, io, s1, s2 in
                     zip(many.clean.labels, *(many.positions[n] for n in ("IO", "S1", "S2")), strict=True))  # fmt: skip
    assert len(many.clean) == 15 and len(names) >= 60
    assert sum(shapes.values()) == 34 and sum(count for shape, count in shapes.items() if shape[2]) == 17


@pytest.mark.model
@pytest.mark.parametrize("template", TEMPLATES)
def test_one_sentence_in_one_order_has_every_name_at_one_position(model, template):
    task = ioi(model, prompts=5, template=template, order="BABA")
    assert all(len(set(places)) == 1 for places in task.positions.values())
    assert len({labels[0] for labels in task.clean.labels}) == 1
    assert all(labels[places] == "".join([" ", *labels[places].split()]) for labels in task.clean.labels
               for places in (task.positions["IO"][0], task.positions["S1"][0]))  # fmt: skip


def test_of_several_lengths_the_most_frequent_counts_and_of_two_such_the_shorter():
    assert (usual([9, 7, 9, 7, 8]), usual([8, 9, 9]), usual([])) == (7, 9, None)


def test_the_words_are_many_different_and_fit_after_an_indefinite_article():
    words = table("ioi")
    for kind in ("templates", "names", "places", "objects"):
        assert len(words[kind]) == len(set(words[kind]))
    assert 60 <= len(words["names"]) <= 100 and len(words["templates"]) >= 15
    assert not [thing for thing in words["objects"] if thing[0] in "aeiou"]
    for sentence in words["templates"]:
        assert all(sentence.count(slot) == 1 for slot in (" {first} and {second} ", " {again} ")), sentence


@pytest.mark.model
def test_the_model_answers_with_the_one_who_is_not_repeated(model):
    task = ioi(model, prompts=34)
    clean = read(model, task)
    assert (clean > 0).float().mean() >= 0.9 and clean.mean() > 3
    assert read(model, task.swap()).mean() > 3, "the corrupted prompts have the other answer"
    assert (read(model, replace(task.swap(), answer=task.answer, wrong=task.wrong)) < 0).float().mean() >= 0.9


@pytest.mark.model
def test_without_a_repeated_name_there_is_little_to_choose(model):
    clean = read(model, ioi(model, prompts=17)).mean()
    for corruption in ("s2_new", "abc"):
        task = ioi(model, prompts=17, corruption=corruption)
        assert abs(task.metric(forward(model, task.corrupted).logits[:, task.end]).mean()) < clean / 3


@pytest.mark.model
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"corruption": "s3"}, "corruption to be one of 's2_io', 's2_new', .* got 's3'"),
        ({"order": "ABAB"}, "order to be one of 'ABBA', 'BABA', 'both', got 'ABAB'"),
        ({"template": 99}, "a template from 0 to 20, or None for all of one length, got 99"),
        ({"template": -1}, "got -1"),
        ({"prompts": 0}, "a whole number from 1, got 0"),
        ({"prompts": 2.5}, "a whole number from 1, got 2.5"),
    ],
)
def test_choices_that_are_none_are_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        ioi(model, **given)


@pytest.mark.parametrize("make", [ioi, facts])
def test_a_model_without_a_tokenizer_gets_no_sentences(tiny, make):
    with pytest.raises(PromptError, match=r"no tokenizer.* from token ids with nbtools\.tasks\.pair"):
        make(tiny)


def test_a_tokenizer_with_too_few_names_is_refused(words_with_marks):
    with pytest.raises(PromptError, match="ioi needs 5 names of one token, this model's tokenizer has 1"):
        ioi(words_with_marks)


# Facts


@pytest.mark.model
@pytest.mark.parametrize("relation", [*RELATIONS, None])
def test_facts_differ_in_the_subject_alone_and_have_different_answers(model, relation):
    task = facts(model, relation=relation, prompts=10)
    for row, places in enumerate(differences(task)):
        last = task.positions["SUBJECT"][row]
        assert places and max(places) <= last < task.end and min(places) > last - 8
        ours, theirs = (side.labels[row] for side in (task.clean, task.corrupted))
        assert ours[last + 1 :] == theirs[last + 1 :]
    assert len({tuple(ids) for ids in task.clean.ids.tolist()}) == 10, "every fact once before any twice"
    assert all(task.texts[token].startswith(" ") for token in [*task.answer.tolist(), *task.wrong.tolist()])


@pytest.mark.model
def test_the_wrong_answer_is_true_of_the_corrupted_prompt(model):
    table_of = table("facts")["capital"]["facts"]
    task = facts(model, relation="capital", prompts=20, seed=1)
    for row in range(20):
        place = task.positions["SUBJECT"][row]
        for side, token in ((task.clean, task.answer[row]), (task.corrupted, task.wrong[row])):
            assert task.texts[token.item()] == f" {table_of[side.labels[row][place].strip()]}"


@pytest.mark.model
@pytest.mark.parametrize("relation", RELATIONS)
def test_the_model_knows_most_facts_of_every_relation(model, relation):
    sentence, answers = table("facts")[relation].values()
    length = len(facts(model, relation=relation, prompts=1).clean)
    reads = {subject: tokens(model, sentence.format(subject=subject)) for subject in answers}
    single = single_tokens(model, answers.values())
    drawn = [subject for subject in answers if len(reads[subject]) == length]
    assert set(single) == set(answers.values()) and len(drawn) >= 10
    best = forward(model, torch.cat([reads[subject].ids for subject in drawn])).logits[:, -1].argmax(-1).tolist()
    right = [token == single[answers[subject]] for subject, token in zip(drawn, best, strict=True)]
    assert sum(right) / len(right) >= 0.6


@pytest.mark.model
def test_a_fact_is_preferred_to_what_is_true_of_the_other_subject(model):
    task = facts(model, prompts=60)
    assert (read(model, task) > 0).float().mean() >= 0.9 and read(model, task).mean() > 3
    assert (read(model, task.swap()) > 0).float().mean() >= 0.9


def test_each_subject_occurs_once_in_its_sentence_and_never_holds_its_answer():
    assert len(RELATIONS) >= 4
    for relation, known in table("facts").items():
        assert len(known["facts"]) >= 10, relation
        for subject, answer in known["facts"].items():
            assert known["prompt"].format(subject=subject).count(subject) == 1, (relation, subject)
            assert answer not in known["prompt"].format(subject=subject).split(), (relation, subject)


@pytest.mark.model
def test_more_facts_than_there_are_pairs_are_refused_and_all_pairs_are_different(model):
    with pytest.raises(InputError, match="at most 132 prompts, as many as there are pairs of one length, got 133"):
        facts(model, relation="month", prompts=133)
    task = facts(model, relation="month", prompts=132)
    assert (
        len(
            {
                (*ours, *theirs)
                for ours, theirs in zip(task.clean.ids.tolist(), task.corrupted.ids.tolist(), strict=True)
            }
        )
        == 132
    )


@pytest.mark.model
def test_an_unknown_relation_lists_those_there_are(model):
    with pytest.raises(InputError, match=r"relation to be one of 'capital', .* or None for all, got 'taste'"):
        facts(model, relation="taste")


def test_a_tokenizer_that_knows_no_answer_is_refused(words_with_marks):
    with pytest.raises(PromptError, match="no two facts have answers of one token"):
        facts(words_with_marks, relation="plural")
