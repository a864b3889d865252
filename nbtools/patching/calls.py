"""A hooked layer alone: run again, as it was called in a run of the whole model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Call", "recorded_calls"]


@dataclass(frozen=True, eq=False)
class Call:
    """With what a layer was called.

    Attributes
    ----------
    layer
        Which.
    hidden
        Its input.
    unnamed, named
        What came beside it: masks and positions, the same for all prompts.
    """

    layer: int
    hidden: Float[Tensor, "prompt position d_model"]
    unnamed: tuple
    named: dict[str, Any]

    def again(
        self, model: TransformerBridge, prompts: Int[Tensor, " run"], hooks: list
    ) -> Float[Tensor, "run position d_model"]:
        """Run the layer for these prompts, with these hooks."""
        more = [_for_runs(value, len(prompts)) for value in self.unnamed]
        options = {name: _for_runs(value, len(prompts)) for name, value in self.named.items()}
        with model.hooks(fwd_hooks=hooks):
            out = model.blocks[self.layer](self.hidden[prompts], *more, **options)
        return out[0] if isinstance(out, tuple) else out


@contextmanager
def recorded_calls(model: TransformerBridge, layers: Iterable[int]) -> Iterator[dict[int, Call]]:
    """Record with what layers are called while this lasts."""
    calls: dict[int, Call] = {}

    def recorder(layer: int):
        def record(_: object, arguments: tuple, named: dict[str, Any]) -> None:
            hidden, *rest = arguments if arguments else (named["hidden_states"],)
            more = {name: value for name, value in named.items() if name != "hidden_states"}
            if "use_cache" in more:
                more["use_cache"] = False
            calls[layer] = Call(layer, hidden.clone(), tuple(rest), more)

        return record

    handles = [model.blocks[layer].register_forward_pre_hook(recorder(layer), with_kwargs=True) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _for_runs(value: Any, runs: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_for_runs(part, runs) for part in value)
    if torch.is_tensor(value) and value.ndim >= 2:
        return value[:1].expand(runs, *value.shape[1:])
    return value
