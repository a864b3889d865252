"""What the sink explorer reads off one run of a prompt, as it is or with its attention sink changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from nbtools.errors import HookError, PromptError
from nbtools.explorers._kept import kept_layers
from nbtools.measures.attention import label_patterns, pattern_hook
from nbtools.measures.massive import massive_in
from nbtools.measures.predictions import surprise_of
from nbtools.measures.sinks import labelled, mass_of, norms_of_stream, norms_of_values, stream_hook, value_hook
from nbtools.models.tokens import Tokens, tokens
from nbtools.naming import HeadLike, head_label, parse_head
from nbtools.patching.sinks import SINK, intervene
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit, Reader, Run

__all__ = ["SinkResult", "SinkRuns"]


@dataclass(frozen=True, eq=False)
class SinkResult:
    """What one run of a prompt gave.

    Attributes
    ----------
    text
        The prompt.
    intervention
        How its sink was changed, one of `nbtools.patching.SINK_INTERVENTIONS`.
    mass
        What `nbtools.measures.sink_mass` gives: attention to each token ``(layer, head, key)``.
    residual_norms, value_norms
        What `nbtools.measures.residual_norms` and `nbtools.measures.value_norms` give.
    pattern
        Attention ``(layer, head, query, key)`` of the layers that were kept: all, unless the prompt is long.
    surprise
        In nats ``(position)``; the first token has none.
    unchanged
        The surprise of the same tokens in the run that nothing was changed in; NaN for a token that was put first.
    massive
        Dimensions of the residual stream with massive activations at the first token.
    """

    text: str
    intervention: str
    mass: xr.DataArray
    residual_norms: xr.DataArray
    value_norms: xr.DataArray
    pattern: xr.DataArray
    surprise: xr.DataArray
    unchanged: xr.DataArray
    massive: tuple[int, ...]

    @property
    def change(self) -> xr.DataArray:
        """How much more each token surprises than in the unchanged run, in nats ``(position)``."""
        return (self.surprise - self.unchanged).rename("change of surprise")

    @property
    def loss(self) -> float:
        """Mean surprise of the tokens that have one in both runs; NaN if there are none."""
        return _mean(self.surprise.where(self.unchanged.notnull()))

    @property
    def cost(self) -> float:
        """How much higher the loss is than that of the unchanged run, in nats, on the same tokens."""
        return _mean(self.change)

    def resting(self, key: int = 0) -> int:
        """Count the heads that pay a token more than 0.3 of their attention."""
        return int((self.mass.sel(key=key) > SINK).sum())

    def peak(self, key: int = 0) -> tuple[float, int] | None:
        """Give the norm of the stream at a token over the median of the others, where it is largest, and the layer."""
        if self.residual_norms.sizes["position"] < 2:
            return None
        ratio = over_others(self.residual_norms, key)
        return float(ratio.max()), int(ratio.idxmax("layer"))


class SinkRuns:
    """Runs a prompt as it is and changed; what the last prompt gave as it is is kept."""

    def __init__(self, model: TransformerBridge) -> None:
        self.model, self._plain, hooks = model, None, model.hook_dict
        self._layers = [layer for layer in range(model.cfg.n_layers) if pattern_hook(layer) in hooks]
        if not self._layers:
            msg = "expected a model with attention: this one has no head that could rest on a token"
            raise HookError(msg)
        if model.tokenizer is None:
            msg = (
                "this model has no tokenizer, so no prompt can be typed: pass token ids to nbtools.measures.sink_mass "
                "and nbtools.patching.sink_costs instead"
            )
            raise PromptError(msg)

    def head(self, head: HeadLike) -> str:
        """Write a head of this model; a HookError says if it has no such one."""
        layer, index = parse_head(head, shape=(self.model.cfg.n_layers, self.model.cfg.n_heads))
        if layer not in self._layers:
            msg = f"layer {layer} has no attention: expected one of {', '.join(map(str, self._layers))}"
            raise HookError(msg)
        return head_label(layer, index)

    def answer(self, text: str, intervention: str, head: str = "") -> SinkResult:
        """Run a prompt once; with an intervention once more, unless it is known as it is. Keep the layer of a head."""
        layer = parse_head(head)[0] if head else self._layers[0]
        read, plain = tokens(self.model, text), self._plain
        if plain is None or plain.text != text or (intervention == "unchanged" and layer not in plain.pattern.layer):
            plain = self._plain = self._run(text, read, layer)
        if intervention == "unchanged":
            return plain
        moved, edit = intervene(self.model, read, intervention, dimensions=plain.massive)
        before = _at_positions(moved, _moved(plain.surprise.values, len(moved)))
        return replace(self._run(text, moved, layer, edit), intervention=intervention, unchanged=before)

    def _run(self, text: str, read: Tokens, layer: int, edit: dict[str, Edit] | None = None) -> SinkResult:
        """Run once, and take the run for the unchanged one."""
        kept = kept_layers(self._layers, self.model.cfg.n_heads, len(read), layer)
        run = forward(self.model, read, capture=self._readers(kept), edit=edit)
        surprise = _at_positions(read, surprise_of(read, run.logits)[0])
        measured = self._measured(read, run, kept)
        return SinkResult(text, "unchanged", surprise=surprise, unchanged=surprise, **measured)

    def _readers(self, kept: list[int]) -> dict[str, Reader]:
        readers: dict[str, Reader] = {stream_hook(layer): _read_stream for layer in range(self.model.cfg.n_layers)}
        for layer in self._layers:
            readers[pattern_hook(layer)] = partial(_read_pattern, keep=layer in kept)
            readers[value_hook(layer)] = norms_of_values(self.model, layer)
        return readers

    def _measured(self, read: Tokens, run: Run, kept: list[int]) -> dict[str, Any]:
        """Label what the readers found, as the measures do."""
        patterns, streams = (
            {layer: run[hook(layer)] for layer in layers}
            for hook, layers in ((pattern_hook, self._layers), (stream_hook, range(self.model.cfg.n_layers)))
        )
        mass = {layer: found for layer, (found, _) in patterns.items()}
        values = {layer: run[value_hook(layer)] for layer in self._layers}
        stream = {layer: norms for layer, (norms, _) in streams.items()}
        label = partial(labelled, self.model, read)
        return {
            "mass": label(_arrays(mass), ("head", "key"), "sink mass", "probability"),
            "value_norms": label(_arrays(values), ("head", "position"), "value norm", "norm"),
            "residual_norms": label(_arrays(stream), ("position",), "residual norm", "norm"),
            "pattern": label_patterns(self.model, read, _arrays({layer: patterns[layer][1] for layer in kept})),
            "massive": tuple(sorted({dimension for _, found in streams.values() for dimension in found})),
        }


def over_others(values: xr.DataArray, key: int) -> xr.DataArray:
    """Compare what belongs to one token with the median of all others."""
    return values.sel(position=key) / values.drop_sel(position=key).median("position")


def _read_pattern(pattern: torch.Tensor, keep: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    return mass_of(pattern), pattern.to(torch.float32, copy=True) if keep else None


def _read_stream(stream: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    position, dimension = massive_in(stream[0])[:2].astype(int)
    return norms_of_stream(stream), dimension[position == 0].tolist()


def _arrays(found: dict[int, Any]) -> dict[int, np.ndarray]:
    return {layer: values.cpu().numpy() for layer, values in found.items()}


def _moved(surprise: np.ndarray, positions: int) -> np.ndarray:
    """Put the surprise of tokens where they are when others stand before them."""
    return np.concatenate([np.full(positions - len(surprise), np.nan, surprise.dtype), surprise])


def _at_positions(read: Tokens, surprise: np.ndarray) -> xr.DataArray:
    text = np.array(read.labels[0], dtype=object)
    coords = {"position": np.arange(len(read)), "token": ("position", text)}
    return xr.DataArray(surprise, coords, ("position",), name="surprise", attrs={"units": "nats"})


def _mean(values: xr.DataArray) -> float:
    known = values.values[np.isfinite(values.values)]
    return float(known.mean()) if len(known) else float("nan")
