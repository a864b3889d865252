"""Which hook points of an architecture really change the output.

A hook that fires is not a hook that works: on some architectures an edit of the attention pattern
is thrown away in silence. The only proof is to change the activation and look at the logits.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from nbtools.errors import HookError
from nbtools.runs.forward import check_hook, lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Liveness", "State", "liveness", "refuse_inert"]

State: TypeAlias = Literal["live", "inert", "never fires", "switched off"]

_LAYER = re.compile(r"^blocks\.(\d+)\.")
_PROBE_TOKENS = 5
_known: WeakKeyDictionary[torch.nn.Module, dict[str, tuple[State, float]]] = WeakKeyDictionary()

_MEANING: dict[State, str] = {
    "live": "an edit here changes the output",
    "inert": "it fires, but what an edit returns is thrown away",
    "never fires": "it exists, but this architecture never calls it",
    "switched off": "it fires only after one of TransformerLens's set_use_… switches",
}


@dataclass(frozen=True, eq=False)
class Liveness:
    """The state of each hook point of one layer of a model, and of those outside the layers.

    Attributes
    ----------
    architecture
        Name of the architecture that was probed.
    states
        State of each hook point.
    effects
        Largest absolute change of any logit when the activation was perturbed; 0 if none.
    """

    architecture: str
    states: dict[str, State]
    effects: dict[str, float]

    def __getitem__(self, hook: str) -> State:
        return self.states[hook]

    def where(self, state: State) -> list[str]:
        """List the hook points in one state."""
        return [name for name, found in self.states.items() if found == state]

    def __repr__(self) -> str:
        lines = [f"Liveness of {self.architecture}, {len(self.states)} hook points"]
        for state, meaning in _MEANING.items():
            names = self.where(state)
            if names:
                lines += [f"  {state} ({len(names)}): {meaning}", f"    {' '.join(names)}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td style='text-align:left'><code>{escape(name)}</code></td><td style='text-align:left'>"
            f"{state}</td><td>{self.effects[name]:.3g}</td></tr>"
            for name, state in self.states.items()
        )
        head = "<tr><th>hook point</th><th>state</th><th>largest change of a logit</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def liveness(model: TransformerBridge, *, layer: int = 0, hooks: Iterable[str] | None = None) -> Liveness:
    """Probe which hook points change the output when they are edited.

    Each activation in turn is halved and given noise in a run over a few random tokens, and the
    logits are compared with those of an untouched run.

    Parameters
    ----------
    layer
        The layer whose hook points are probed, besides those outside the layers.
    hooks
        Only these hook points instead.

    Raises
    ------
    HookError
        If the layer or a hook point does not exist.

    Examples
    --------
    >>> liveness(load())["blocks.0.attn.hook_pattern"]
    'live'
    """
    if not 0 <= layer < model.cfg.n_layers:
        msg = f"layer {layer} does not exist: expected 0 to {model.cfg.n_layers - 1}"
        raise HookError(msg)
    names = list(hooks) if hooks is not None else _names(model, layer)
    for name in names:
        check_hook(model, name)
    found = {name: _probe(model, name) for name in names}
    states = {name: state for name, (state, _) in found.items()}
    return Liveness(str(model.cfg.architecture), states, {name: effect for name, (_, effect) in found.items()})


def refuse_inert(model: TransformerBridge, name: str) -> None:
    """Raise a HookError if an edit at this hook point could not change anything."""
    same_kind = [found for other, found in _known.get(model, {}).items() if _kind(other) == _kind(name)]
    state, _ = same_kind[0] if same_kind else _probe(model, name)
    if state != "live":
        msg = (
            f"editing {name!r} would change nothing on {model.cfg.architecture}: the hook point is {state} "
            f"({_MEANING[state]}). nb.liveness(model) lists the live ones."
        )
        raise HookError(msg)


def _names(model: TransformerBridge, layer: int) -> list[str]:
    return [name for name in model.hook_dict if (match := _LAYER.match(name)) is None or int(match[1]) == layer]


def _kind(name: str) -> str:
    return _LAYER.sub("blocks.*.", name)


def _probe(model: TransformerBridge, name: str) -> tuple[State, float]:
    """Probe a hook point once; two names of the same hook point share the answer."""
    known = _known.setdefault(model, {})
    if name not in known:
        point = model.hook_dict[name]
        twins = [other for other in known if model.hook_dict[other] is point]
        known[name] = known[twins[0]] if twins else _perturbed(model, name)
    return known[name]


def _perturbed(model: TransformerBridge, name: str) -> tuple[State, float]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.cfg.d_vocab, (1, _PROBE_TOKENS), generator=generator).to(model.cfg.device)
    fired = []

    def perturb(value: Tensor, hook: object) -> Tensor:
        fired.append(name)
        if not value.is_floating_point():  # token ids
            return (value + 1) % model.cfg.d_vocab
        noise = torch.randn(value.shape, generator=generator).to(value)
        return value * 0.5 + 0.1 * noise

    with lock(model), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TransformerLens warns of some of the edits that are tried here
        reference = model(ids)
        try:
            changed = model.run_with_hooks(ids, fwd_hooks=[(name, perturb)])
        except ValueError:
            return "switched off", 0.0
    if not fired:
        return "never fires", 0.0
    effect = float((changed - reference).abs().max())
    return ("live" if effect > 0 else "inert"), effect
