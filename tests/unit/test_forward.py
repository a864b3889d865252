"""nbtools.runs.forward reads and edits, leaves nothing behind, and explains what does not fit."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbtools.errors import ArrayError, HookError, ModelError, PromptError
from nbtools.runs import forward, lock
from tests.conftest import CONTEXT, VOCABULARY, hooks_left, tiny_bridge

IDS = [5, 17, 3, 88, 17]
Z = "blocks.1.attn.hook_z"


def test_logits_are_those_of_the_plain_model():
    bridge = tiny_bridge()
    from tests.conftest import _module

    torch.manual_seed(0)
    plain, _ = _module("llama")
    with torch.no_grad():
        expected = plain.eval()(torch.tensor([IDS])).logits
    torch.testing.assert_close(forward(bridge, IDS).logits, expected, atol=1e-5, rtol=0)


def test_no_gradient_is_kept(tiny):
    run = forward(tiny, IDS, capture=[Z])
    assert not run.logits.requires_grad
    assert not run[Z].requires_grad


def test_only_what_was_asked_for_is_kept(tiny):
    assert set(forward(tiny, IDS, capture=[Z]).cache) == {Z}
    assert forward(tiny, IDS).cache == {}


def test_a_reader_is_kept_instead_of_the_activation(tiny):
    run = forward(tiny, IDS, capture={Z: lambda z: z.abs().sum().item()})
    assert run[Z] == pytest.approx(forward(tiny, IDS, capture=[Z])[Z].abs().sum().item())


def test_captured_activations_share_no_memory_with_the_model_or_each_other(tiny):
    names = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_pre"]
    run = forward(tiny, IDS, capture={name: lambda value: value for name in names})
    before = run[names[1]].clone()
    run[names[0]].zero_()
    assert torch.equal(run[names[1]], before)


def test_an_edit_in_place_and_one_that_returns_agree_and_do_not_touch_the_cache(tiny):
    def in_place(z):
        z[:, :, 2] = 0

    def returning(z):
        z = z.clone()
        z[:, :, 2] = 0
        return z

    first = forward(tiny, IDS, edit={Z: in_place}, capture=[Z, "blocks.1.attn.hook_q"])
    second = forward(tiny, IDS, edit={Z: returning})
    assert torch.equal(first.logits, second.logits)
    assert not torch.equal(first.logits, forward(tiny, IDS).logits)
    assert first[Z][:, :, 2].abs().max() == 0  # a capture sees the edit


def test_the_next_run_is_bit_identical_after_success_and_after_every_failure(tiny):
    clean = forward(tiny, IDS).logits

    def explode(z):
        raise RuntimeError("from the user's own function")

    def interrupt(z):
        raise KeyboardInterrupt

    def wrong_shape(z):
        return z[:, :1]

    def wrong_type(z):
        return "no tensor"

    def not_a_number(z):
        return z * float("nan")

    failures = [(explode, RuntimeError), (interrupt, KeyboardInterrupt), (wrong_shape, ArrayError)]
    failures += [(wrong_type, ArrayError), (not_a_number, ArrayError)]
    for edit, error in failures:
        with pytest.raises(error):
            forward(tiny, IDS, edit={Z: edit})
        assert hooks_left(tiny) == 0
        assert torch.equal(forward(tiny, IDS).logits, clean)


def test_hooks_of_the_user_stay(tiny):
    seen = []
    point = tiny.hook_dict["blocks.0.hook_out"]
    tiny.add_hook("blocks.0.hook_out", lambda value, hook: seen.append(1))
    try:
        forward(tiny, IDS, edit={Z: lambda z: z * 0})
        forward(tiny, IDS)
    finally:
        tiny.reset_hooks()
    assert len(seen) >= 2
    assert not point.fwd_hooks


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("blocks.1.attn.hook_zz", "did you mean blocks.1.attn.hook_z"), ("blocks.9.attn.hook_z", "layers 0 to 2")],
)
def test_an_unknown_hook_point_names_its_neighbours(tiny, name, sentence):
    with pytest.raises(HookError, match=sentence):
        forward(tiny, IDS, capture=[name])
    with pytest.raises(HookError, match=sentence):
        forward(tiny, IDS, edit={name: lambda value: value})


def test_an_edit_that_could_not_change_anything_is_refused(tiny_opt):
    with pytest.raises(HookError, match=r"OPTForCausalLM.*inert"):
        forward(tiny_opt, IDS, edit={"blocks.0.attn.hook_pattern": lambda pattern: pattern * 0})


def test_an_edit_at_a_switched_off_hook_is_refused(tiny):
    with pytest.raises(HookError, match="switched off"):
        forward(tiny, IDS, edit={"blocks.0.attn.hook_result": lambda value: value * 0})


def test_a_model_in_training_mode_is_refused(tiny):
    tiny.train()
    try:
        with pytest.raises(ModelError, match=r"model\.eval\(\)"):
            forward(tiny, IDS)
    finally:
        tiny.eval()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ([], "at least one"),
        ([[1, 2], [3]], "same number of tokens"),
        ([1, VOCABULARY], f"expected 0 to {VOCABULARY - 1}"),
        ([-1], "not in this model's vocabulary"),
        ([1.5, 2.0], "whole numbers"),
        ([True], "whole numbers"),
        (list(range(CONTEXT + 1)), f"at most {CONTEXT}"),
        ("some text", "no tokenizer"),
        (b"bytes", "expected text, token ids"),
        (7, "expected text, token ids"),
        (None, "expected text, token ids"),
        ({"a": 1}, "expected text, token ids"),
    ],
)
def test_bad_prompts_are_explained(tiny, prompt, sentence):
    with pytest.raises(PromptError, match=sentence):
        forward(tiny, prompt)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=4, max_size=4), min_size=1, max_size=3))
def test_prompts_run_together_give_what_each_gives_alone(tiny, rows):
    together = forward(tiny, rows).logits
    for row, logits in zip(rows, together, strict=True):
        torch.testing.assert_close(forward(tiny, row).logits[0], logits, atol=1e-5, rtol=1e-4)


def test_runs_from_many_threads_give_what_one_thread_gives(tiny):
    prompts = [[(7 * n + k) % VOCABULARY for k in range(6)] for n in range(8)]
    expected = [forward(tiny, prompt, capture=[Z]) for prompt in prompts]
    found: dict[int, list] = {n: [] for n in range(len(prompts))}

    def work(n: int) -> None:
        for _ in range(5):
            found[n].append(forward(tiny, prompts[n], capture=[Z]))

    threads = [threading.Thread(target=work, args=(n,)) for n in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, runs in found.items():
        for run in runs:
            assert torch.equal(run.logits, expected[n].logits)
            assert torch.equal(run[Z], expected[n][Z])


def test_each_model_has_one_lock(tiny, tiny_gpt2):
    assert lock(tiny) is lock(tiny)
    assert lock(tiny) is not lock(tiny_gpt2)


def test_a_run_shows_what_it_read(tiny):
    assert repr(forward(tiny, [1, 2], capture=[Z])) == f"Run(Tokens(prompts=1, positions=2: 1 2), cache={[Z]})"
