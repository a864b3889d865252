"""A hook that fires is not a hook that works; liveness tells them apart."""

from __future__ import annotations

import pytest
import torch

from nbtools.errors import HookError
from nbtools.runs import forward, liveness
from tests.conftest import hooks_left


def test_all_hooks_of_a_llama_layer_that_fire_are_live(tiny):
    report = liveness(tiny, layer=1)
    for name in ("hook_resid_pre", "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "mlp.hook_post"):
        assert report[f"blocks.1.{name}"] == "live"
        assert report.effects[f"blocks.1.{name}"] > 0


def test_a_pattern_that_is_thrown_away_is_called_inert(tiny_opt):
    report = liveness(tiny_opt)
    assert report["blocks.0.attn.hook_pattern"] == "inert"
    assert report["blocks.0.attn.hook_attn_scores"] == "inert"
    assert report["blocks.0.attn.hook_z"] == "live"


def test_inert_means_that_no_edit_changes_a_single_bit(tiny_opt):
    clean = forward(tiny_opt, [1, 2, 3]).logits
    with torch.no_grad():
        edited = tiny_opt.run_with_hooks(
            torch.tensor([[1, 2, 3]]), fwd_hooks=[("blocks.0.attn.hook_pattern", lambda value, hook: value * 0)]
        )
    assert torch.equal(clean, edited)


def test_hooks_that_never_fire_and_those_switched_off_are_told_apart(tiny):
    report = liveness(tiny)
    assert report["hook_pos_embed"] == "never fires"
    assert report["blocks.0.attn.hook_result"] == "switched off"


def test_the_probe_leaves_no_hook_and_the_same_model(tiny_gpt2):
    clean = forward(tiny_gpt2, [1, 2, 3]).logits
    liveness(tiny_gpt2, layer=2)
    assert hooks_left(tiny_gpt2) == 0
    assert torch.equal(forward(tiny_gpt2, [1, 2, 3]).logits, clean)


def test_chosen_hooks_only(tiny):
    assert set(liveness(tiny, hooks=["hook_embed"]).states) == {"hook_embed"}


def test_unknown_layers_and_hooks_are_explained(tiny):
    with pytest.raises(HookError, match="expected 0 to 2"):
        liveness(tiny, layer=3)
    with pytest.raises(HookError, match="did you mean"):
        liveness(tiny, hooks=["hook_embedd"])


def test_the_report_groups_by_state_and_explains_each(tiny):
    text = repr(liveness(tiny, hooks=["hook_embed", "hook_pos_embed"]))
    assert "live (1): an edit here changes the output" in text
    assert "never fires (1)" in text
