"""One forward pass: what to read, what to change, and nothing left on the model afterwards."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, HookError, ModelError
from nbtools.models.tokens import Prompt, Tokens, tokens
from nbtools.runs.threads import settle_threads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Edit", "Reader", "Run", "check_hook", "check_model", "forward", "lock", "works_in_place"]

Reader = Callable[[Tensor], Any]
Edit = Callable[[Tensor], "Tensor | None"]

_locks: WeakKeyDictionary[torch.nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_guard = threading.Lock()


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass gave.

    Attributes
    ----------
    tokens
        The tokens that were read.
    logits
        Before the softmax, in nats; None where only the cache was asked for.
    cache
        For each captured hook point its activation, or what its reader made of it.
    """

    tokens: Tokens
    logits: Float[Tensor, "prompt position vocabulary"]
    cache: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Run({self.tokens!r}, cache={sorted(self.cache)})"

    def __getitem__(self, hook: str) -> Any:
        return self.cache[hook]


def lock(model: torch.nn.Module) -> threading.RLock:
    """Give the one lock of this model; hold it around anything that runs or changes the model.

    `forward` holds it. Take it yourself around calls of TransformerLens that a widget could disturb.

    Examples
    --------
    >>> model = load()
    >>> with lock(model), torch.no_grad():
    ...     logits, cache = model.run_with_cache("Paris is in")
    """
    with _locks_guard:
        return _locks.setdefault(model, threading.RLock())


def forward(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    capture: Iterable[str] | Mapping[str, Reader] = (),
    edit: Mapping[str, Edit] | None = None,
    last: bool = False,
) -> Run:
    """Run a hooked model once, reading and changing activations on the way.

    Parameters
    ----------
    prompt
        Anything `nbtools.models.tokens` reads.
    capture
        Hook points to keep. A mapping gives each a reader: its result is kept instead of the
        activation, so a large one need not be held.
    edit
        For each hook point a function that receives a copy of the activation and returns what
        replaces it; it may change the copy in place and return nothing. Captures see the edit.
    last
        Whether to give the logits at the last position alone, ``[prompt, 1, vocabulary]``: the others take most of
        the memory of a run.

    Raises
    ------
    HookError
        If a hook point does not exist, is switched off, or an edit there would change nothing.
    ArrayError
        If an edit returns another shape or NaN.
    ModelError
        If the model is in training mode.

    Examples
    --------
    Silence head 6 of layer 18:

    >>> model = load()
    >>> def silence(z):
    ...     z[:, :, 6] = 0
    >>> run = forward(model, "Paris is in", edit={"blocks.18.attn.hook_z": silence})
    >>> tuple(run.logits.shape)
    (1, 3, 49152)
    """
    edit = edit or {}
    readers = dict(capture) if isinstance(capture, Mapping) else dict.fromkeys(capture, torch.clone)
    read = tokens(model, prompt)
    settle_threads()
    with lock(model), torch.no_grad():
        _check(model, readers, edit)
        cache: dict[str, Any] = {}
        hooks = [(name, _editing(name, change)) for name, change in edit.items()]
        hooks += [(name, _reading(name, reader, cache)) for name, reader in readers.items()]
        options = {"logits_to_keep": 1} if last and _keeps_some_logits(model) else {}
        logits = model.run_with_hooks(read.ids, fwd_hooks=hooks, return_type="logits", **options)
    if last:
        logits = logits[:, -1:].clone() if logits.shape[1] > 1 else logits
    return Run(read, logits, {name: cache[name] for name in readers if name in cache})


def _keeps_some_logits(model: TransformerBridge) -> bool:
    """Whether the model can leave out the logits of earlier positions."""
    inner = getattr(model, "original_model", None)
    return inner is not None and "logits_to_keep" in inspect.signature(inner.forward).parameters


def check_hook(model: TransformerBridge, name: str) -> None:
    """Raise a HookError that names the nearest hook points if `name` is not one."""
    if name in model.hook_dict:
        return
    near = difflib.get_close_matches(name, model.hook_dict, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "nb.liveness(model) lists those that work"
    msg = f"{model.cfg.model_name} has no hook point {name!r} (it has layers 0 to {model.cfg.n_layers - 1}): {hint}"
    raise HookError(msg)


def check_model(model: TransformerBridge) -> None:
    """Raise a ModelError if the model would not give the same answer twice."""
    if model.training:
        msg = "the model is in training mode, so dropout would change its answers: call model.eval() first"
        raise ModelError(msg)


def _check(model: TransformerBridge, readers: Mapping[str, Reader], edit: Mapping[str, Edit]) -> None:
    check_model(model)
    known = model.hook_dict  # which TransformerLens puts together each time it is asked for
    for name in [*readers, *edit]:
        if name not in known:
            check_hook(model, name)
    from nbtools.runs.liveness import refuse_inert

    for name in edit:
        refuse_inert(model, name)


def _reading(name: str, reader: Reader, cache: dict[str, Any]) -> Callable[..., None]:
    def read(value: Tensor, hook: object) -> None:
        kept = reader(value.detach())
        cache[name] = kept.clone() if _shares_memory(kept, value) else kept

    return read


def _shares_memory(kept: Any, value: Tensor) -> bool:
    """Whether a reader kept the activation itself, which shares its memory with its neighbours in the model."""
    return torch.is_tensor(kept) and kept.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()


def works_in_place(name: str) -> bool:
    """Whether an edit must overwrite the activation: between attention and MLP the hook point is on one branch.

    TransformerLens reads ``hook_resid_mid`` off the input of the second norm. What is returned there reaches the MLP
    alone; what is overwritten is the residual stream itself, as the name says.
    """
    return name.endswith(("hook_resid_mid", "ln2.hook_in"))


def _editing(name: str, change: Edit) -> Callable[..., Tensor]:
    def replace(value: Tensor, hook: object) -> Tensor:
        copy = value.clone()
        result = change(copy)
        edited = _checked_edit(name, value, copy if result is None else result)
        return value.copy_(edited) if works_in_place(name) else edited

    return replace


def _checked_edit(name: str, before: Tensor, after: Any) -> Tensor:
    if not torch.is_tensor(after) or after.shape != before.shape:
        got = tuple(after.shape) if torch.is_tensor(after) else type(after).__name__
        msg = f"the edit at {name!r} must return a tensor of shape {tuple(before.shape)}, got {got}"
        raise ArrayError(msg)
    if after.is_floating_point() and after.isnan().any() and not before.isnan().any():
        msg = f"the edit at {name!r} returned NaN: expected numbers"
        raise ArrayError(msg)
    return after.to(before)
