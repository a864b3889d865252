"""A model's own layers without their hooks, run on packed tokens: the fast half of exact patching.

After a patch at one layer and position, only later layers at later positions change. The twin is the same
transformers model as the hooked one, built anew around the very same weights, whose attention reads the keys and
values of unchanged positions from a reference run. So rows of many patched runs, each with its own unchanged
prefix, go through a layer together as one long row of tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Lane", "Reference", "Twin", "twin_of"]

_NAME = "nbtools_packed"
_WRAPPER = "._original_component"
_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm")
_attention: ContextVar[Callable[..., Tensor]] = ContextVar("attention")
_twins: WeakKeyDictionary[nn.Module, Twin] = WeakKeyDictionary()


@dataclass(frozen=True)
class Lane:
    """Patched runs that share a prompt and the first position that can change."""

    prompt: int
    start: int


@dataclass
class Reference:
    """What a full run of the twin leaves for packed ones.

    Attributes
    ----------
    streams
        For each layer its input ``[prompt, position, d_model]``, and after them the output of the last.
    keys, values
        For each attention module ``[prompt, head, position, d_head]``, as attention reads them.
    masks
        What is added to its scores ``[1, 1, query, key]``, or None.
    arguments
        What each layer was called with beside its input.
    """

    streams: list[Float[Tensor, "prompt position d_model"]] = field(default_factory=list)
    keys: dict[nn.Module, Tensor] = field(default_factory=dict)
    values: dict[nn.Module, Tensor] = field(default_factory=dict)
    masks: dict[nn.Module, Tensor | None] = field(default_factory=dict)
    arguments: list[tuple[tuple, dict[str, Any]]] = field(default_factory=list)


class Twin:
    """The unhooked model around the weights of a hooked one.

    Raises
    ------
    LookupError
        If the architecture is put together in a way that is not known here.
    """

    def __init__(self, model: TransformerBridge) -> None:
        hooked = model.original_model
        _register()
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

    def reference(self, ids: Int[Tensor, "prompt position"]) -> Reference:
        """Run in full, keeping what packed runs need."""
        kept = Reference()
        handles = [layer.register_forward_pre_hook(_keep(kept), with_kwargs=True) for layer in self.layers]
        handles.append(self.layers[-1].register_forward_hook(lambda _, __, out: kept.streams.append(_first(out))))
        token = _attention.set(_recording(kept))
        try:
            self.module.base_model(input_ids=ids, use_cache=False)
        finally:
            _attention.reset(token)
            for handle in handles:
                handle.remove()
        return kept

    def advance(
        self, layer: int, rows: Float[Tensor, "token d_model"], lanes: Sequence[tuple[Lane, int]], kept: Reference
    ) -> Float[Tensor, "token d_model"]:
        """Run packed rows through one layer.

        Parameters
        ----------
        layer
            Which.
        rows
            The tokens of all patched runs, lane after lane, run after run.
        lanes
            The lanes in the order of `rows`, each with its number of runs.
        kept
            The reference run that holds what did not change.
        """
        length = kept.streams[0].shape[1]
        at = [torch.arange(lane.start, length).repeat(runs) for lane, runs in lanes]
        positions = torch.cat(at).to(rows.device)
        unnamed, named = kept.arguments[layer]
        more = _along(unnamed, positions, length)
        options = {name: _along(value, positions, length) for name, value in named.items()}
        token = _attention.set(_packed(kept, lanes))
        try:
            return _first(self.layers[layer](rows[None], *more, **options))[0]
        finally:
            _attention.reset(token)

    def logits(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocabulary"]:
        """Read logits off the output of the last layer."""
        return self._transform(self.head(self.norm(rows)[None]))[0].float()


def twin_of(model: TransformerBridge) -> Twin:
    """Give the twin of a model, built once and again when its weights were replaced."""
    known = _twins.get(model)
    if known is None or not known.is_current(model):
        known = _twins[model] = Twin(model)
    return known


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, eager_mask)


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Any:
    """Stand where transformers calls attention; heads come before positions."""
    if options.get("s_aux") is not None or options.get("position_bias") is not None:
        raise LookupError("attention with learned sinks or biases")
    return _attention.get()(module, query, key, value, mask, options), None


def _recording(kept: Reference) -> Callable[..., Tensor]:
    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, options: dict) -> Tensor:
        kept.keys[module], kept.values[module] = key, value
        kept.masks[module] = None if mask is None else mask[:1]
        return _core(query, key, value, mask, options, module)

    return attend


def _packed(kept: Reference, lanes: Sequence[tuple[Lane, int]]) -> Callable[..., Tensor]:
    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, options: dict) -> Tensor:
        keys, values, mask = kept.keys[module], kept.values[module], kept.masks[module]
        parts, begin = [], 0
        for lane, runs in lanes:
            length = keys.shape[2] - lane.start
            end = begin + runs * length
            own = [_split(whole[0, :, begin:end], runs) for whole in (query, key, value)]
            before = [_prefix(whole, lane, runs) for whole in (keys, values)]
            full = [torch.cat([past, new], 2) if lane.start else new for past, new in zip(before, own[1:], strict=True)]
            rows = None if mask is None else mask[:, :, lane.start :]
            parts.append(_core(own[0], *full, rows, options, module).flatten(0, 1))
            begin = end
        return torch.cat(parts)[None]

    return attend


def _split(rows: Tensor, runs: int) -> Float[Tensor, "run head position d_head"]:
    return rows.unflatten(1, (runs, -1)).transpose(0, 1)


def _prefix(whole: Tensor, lane: Lane, runs: int) -> Float[Tensor, "run head position d_head"]:
    return whole[lane.prompt : lane.prompt + 1, :, : lane.start].expand(runs, -1, -1, -1)


def _core(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict, module: nn.Module
) -> Float[Tensor, "run position head d_head"]:
    """Attend as the eager functions of transformers do: scale, soft cap, mask, softmax."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    cap = options.get("softcap")
    if cap is None:
        return nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale).transpose(1, 2)
    scores = torch.tanh(query @ key.transpose(-1, -2) * scale / cap) * cap
    scores = scores if mask is None else scores + mask
    return (scores.softmax(-1, dtype=torch.float32).to(value) @ value).transpose(1, 2)


def _rebuilt(hooked: nn.Module) -> nn.Module:
    config = copy.deepcopy(hooked.config)
    config._attn_implementation = _NAME
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


def _keep(kept: Reference) -> Callable[..., None]:
    def keep(_: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        hidden, *rest = arguments if arguments else (named["hidden_states"],)
        kept.streams.append(hidden)
        more = {name: value for name, value in named.items() if name != "hidden_states"}
        kept.arguments.append((tuple(rest), more))

    return keep


def _along(value: Any, positions: Int[Tensor, " token"], length: int) -> Any:
    """Give an argument of a layer for packed tokens: what has a position dimension is read at their positions."""
    if isinstance(value, tuple):
        return tuple(_along(part, positions, length) for part in value)
    if not torch.is_tensor(value) or value.ndim == 4:  # a mask: attention has its own
        return value
    if value.ndim in (2, 3) and value.shape[1] == length:
        return value[:1, positions]
    return value[positions] if value.ndim == 1 and len(value) == length else value


def _first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out
