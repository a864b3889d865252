"""A model's own layers without their hooks, run on packed tokens: the fast half of exact patching.

The twin is the same transformers model as the hooked one, built anew around the very same weights. Its attention is
that of `nbtools.patching.packed`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nbtools.patching import packed
from nbtools.patching.packed import Given, Lane, Put, Reference

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Twin", "twin_of"]

_WRAPPER = "._original_component"
_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm")
_twins: WeakKeyDictionary[nn.Module, Twin] = WeakKeyDictionary()


class Twin:
    """The unhooked model around the weights of a hooked one.

    Raises
    ------
    LookupError
        If the architecture is put together in a way that is not known here.
    """

    def __init__(self, model: TransformerBridge) -> None:
        hooked = model.original_model
        packed.register()
        self.module = _rebuilt(hooked)
        self.layers = _layers(self.module, model.cfg.n_layers)
        self.norm = _final_norm(self.module, self.layers)
        self.head = self.module.get_output_embeddings()
        self._transform = model.adapter.apply_output_logits_transform
        self._pointers = _pointers(hooked)

    @cached_property
    def logits_are_plain(self) -> bool:
        """Whether nothing, such as a soft cap, comes after the unembedding."""
        probe = torch.linspace(-100, 100, self.head.weight.shape[0]).to(self.head.weight)[None, None]
        return torch.equal(self._transform(probe.clone()), probe)

    def is_current(self, model: TransformerBridge) -> bool:
        """Whether the hooked model still has the weights this twin was built around."""
        return self._pointers == _pointers(model.original_model)

    def reference(
        self,
        ids: Int[Tensor, "prompt position"],
        *,
        only: int | None = None,
        embeddings: Float[Tensor, "prompt position d_model"] | None = None,
    ) -> Reference:
        """Run in full, keeping what packed runs need.

        With `only` the input of one layer is kept, and what attention reads; `embeddings` stand in for those of `ids`.
        """
        inputs = {"input_ids": ids} if embeddings is None else {"inputs_embeds": embeddings}
        kept = Reference(length=ids.shape[1], only=only)
        hooks = [_keep(kept, only in (None, index)) for index in range(len(self.layers))]
        handles = [
            layer.register_forward_pre_hook(hook, with_kwargs=True)
            for layer, hook in zip(self.layers, hooks, strict=True)
        ]
        if only is None:
            handles.append(self.layers[-1].register_forward_hook(lambda _, __, out: kept.streams.append(_first(out))))
        try:
            with packed.attending(packed.recording(kept)):
                self.module.base_model(**inputs, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        if len(kept.keys) != len(self.layers):
            msg = f"expected one attention in each of {len(self.layers)} layers, found {len(kept.keys)}"
            raise LookupError(msg)
        return kept

    def advance(
        self,
        layer: int,
        rows: Float[Tensor, "token d_model"],
        lanes: Sequence[Lane],
        kept: Reference,
        given: Given | None = None,
        puts: Sequence[Put] | None = None,
    ) -> Float[Tensor, "token d_model"]:
        """Run packed rows through one layer.

        Parameters
        ----------
        layer
            Which.
        rows
            The tokens of all patched runs, lane after lane, run after run.
        lanes
            The lanes in the order of `rows`.
        kept
            The reference run that holds what did not change.
        given
            More rows, which come last.
        puts
            For each lane what is put into some of its heads.
        """
        at = _positions(lanes, kept.length)
        if given is not None:
            rows, at = torch.cat([rows, given.rows]), torch.cat([at.to(given.at), given.at])
        return self._run(layer, rows, at, kept, packed.packed(kept, lanes, given, puts))

    def advance_ends(
        self,
        layer: int,
        rows: Float[Tensor, "token d_model"],
        lanes: Sequence[Lane],
        kept: Reference,
        puts: Sequence[Put] | None = None,
    ) -> Float[Tensor, "run d_model"]:
        """Run packed rows through one layer as far as the last position of each run needs it, and give only those."""
        at = _positions(lanes, kept.length)
        found = self.reads(layer, rows, at, kept)[1:]
        last = torch.nonzero(at == kept.length - 1)[:, 0].to(rows.device)
        return self._run(layer, rows[last], at[last.cpu()], kept, packed.ends(kept, lanes, found, puts))

    def with_heads(self, layer: int, given: Given, kept: Reference) -> Float[Tensor, "token d_model"]:
        """Run rows whose attention is given through one layer."""
        return self._run(layer, given.rows, given.at, kept, packed.packed(kept, [], given))

    def reads(
        self, layer: int, rows: Float[Tensor, "token d_model"], at: Int[Tensor, " token"], kept: Reference
    ) -> list[Float[Tensor, "1 head token d_head"]]:
        """Give the queries, keys and values that a layer's attention reads off rows."""
        found: list[Tensor] = []
        with suppress(packed.Enough):
            self._run(layer, rows, at, kept, packed.reading(found))
        return found

    def _run(
        self, layer: int, rows: Float[Tensor, "token d_model"], at: Int[Tensor, " token"], kept: Reference, attend: Any
    ) -> Float[Tensor, "token d_model"]:
        at, length = at.to(rows.device), kept.length
        unnamed, named = kept.arguments[layer]
        more = packed.along(unnamed, at, length)
        options = {name: packed.along(value, at, length) for name, value in named.items()}
        with packed.attending(attend):
            return _first(self.layers[layer](rows[None], *more, **options))[0]

    def logits(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocabulary"]:
        """Read logits off the output of the last layer."""
        return self._transform(self.head(self.norm(rows)[None]))[0].float()


def twin_of(model: TransformerBridge) -> Twin:
    """Give the twin of a model, built once and again when its weights were replaced."""
    known = _twins.get(model)
    if known is None or not known.is_current(model):
        known = _twins[model] = Twin(model)
    return known


def _rebuilt(hooked: nn.Module) -> nn.Module:
    config = copy.deepcopy(hooked.config)
    config._attn_implementation = packed.ATTENTION
    with torch.device("meta"):
        module = type(hooked)(config)
    module.load_state_dict(_plain(hooked.state_dict(), {name for name, _ in module.named_parameters()}), assign=True,
                           strict=False)  # fmt: skip
    module.tie_weights()
    _take_buffers(module, hooked)
    missing = [name for name, tensor in module.named_parameters() if tensor.is_meta]
    if missing:
        raise LookupError(f"the weight {missing[0]} is held under another name")
    return module.eval().requires_grad_(False)


def _plain(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Give state under the names that it had before hooks were put around its modules."""
    named = {name.replace(_WRAPPER, ""): value for name, value in state.items()}
    return {name: value for name, value in named.items() if name in wanted}


def _take_buffers(module: nn.Module, hooked: nn.Module) -> None:
    """Take over what is computed once, such as rotary frequencies; it is not part of the state."""
    have = {name.replace(_WRAPPER, ""): value for name, value in hooked.named_buffers()}
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            if name not in have:
                raise LookupError(f"the buffer {name} is not in the hooked model")
            place, _, leaf = name.rpartition(".")
            module.get_submodule(place).register_buffer(leaf, have[name], persistent=False)


def _pointers(hooked: nn.Module) -> tuple[int, ...]:
    return tuple(parameter.data_ptr() for parameter in hooked.parameters())


def _layers(module: nn.Module, count: int) -> nn.ModuleList:
    found = [part for part in module.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    if len(found) != 1:
        raise LookupError(f"expected one list of {count} layers, found {len(found)}")
    return found[0]


def _final_norm(module: nn.Module, layers: nn.ModuleList) -> nn.Module:
    owners = [part for part in module.modules() if any(child is layers for child in part.children())]
    for name in _NORMS:
        if isinstance(getattr(owners[0], name, None), nn.Module):
            return getattr(owners[0], name)
    raise LookupError("no final norm beside the layers")


def _positions(lanes: Sequence[Lane], length: int) -> Int[Tensor, " token"]:
    at = [torch.arange(lane.start, length).repeat(len(lane)) for lane in lanes]
    return torch.cat(at) if at else torch.empty(0, dtype=torch.long)


def _keep(kept: Reference, stream: bool) -> Callable[..., None]:
    def keep(_: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        hidden, *rest = arguments if arguments else (named["hidden_states"],)
        if stream:
            kept.streams.append(hidden)
        more = {name: value for name, value in named.items() if name != "hidden_states"}
        kept.arguments.append((tuple(rest), more))

    return keep


def _first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out
