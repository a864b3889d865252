"""Two ways to run patched runs: resumed, which recomputes only what can change, and with hooks, which always works."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.patching.plan import Batch, Plan
from nbtools.patching.sites import exchange
from nbtools.patching.twin import Lane, Twin, twin_of
from nbtools.runs.forward import forward, works_in_place

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["HookedEngine", "ResumedEngine", "Scorer"]

_TOKENS_AT_ONCE = 4096  # beyond this a batch leaves the processor's cache without multiplying any faster


class Scorer:
    """Reads a metric off the last position of patched runs, and unembeds only what it needs.

    Parameters
    ----------
    metric
        A function of logits ``[run, vocabulary]`` and the prompt of each run.
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self._direction: Tensor | None = None

    def of_logits(self, logits: Float[Tensor, "run vocabulary"], prompt: np.ndarray) -> np.ndarray:
        """Give the metric of runs from their logits."""
        values = self.metric(logits.float(), torch.as_tensor(prompt, device=logits.device))
        return values.detach().double().cpu().numpy()

    def learn_direction(self, twin: Twin) -> None:
        """If the metric is a difference of two logits, take the difference of their unembeddings instead."""
        weight, bias = getattr(twin.head, "weight", None), getattr(twin.head, "bias", None)
        if not hasattr(self.metric, "wrong") or weight is None or not twin.logits_are_plain:
            return
        answer, wrong = self.metric.answer.to(weight.device), self.metric.wrong.to(weight.device)
        self._direction = (weight[answer] - weight[wrong]).float()
        self._offset = torch.zeros(len(answer)).to(weight) if bias is None else (bias[answer] - bias[wrong]).float()

    def of_rows(self, twin: Twin, rows: Float[Tensor, "run d_model"], prompt: np.ndarray) -> np.ndarray:
        """Give the metric of runs from what the last layer put out at the last position."""
        if self._direction is None:
            return self.of_logits(twin.logits(rows), prompt)
        which = torch.as_tensor(prompt, device=rows.device)
        normed = twin.norm(rows).float()
        return ((normed * self._direction[which]).sum(-1) + self._offset[which]).double().cpu().numpy()

    @property
    def vocabulary_is_read(self) -> bool:
        """Whether whole rows of logits are needed."""
        return self._direction is None


class _Patched:
    """What both engines need: the source's activations, and the edit that puts them in."""

    def __init__(self, model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor) -> None:
        self.model, self.plan, self.base = model, plan, base
        self.source = forward(model, source, capture=[plan.site.at(layer) for layer in plan.layers])

    def edit(self, batch: Batch, layer: int) -> tuple[str, Any]:
        """Give the hook that patches every run of a batch, all in one layer."""
        name = self.plan.site.at(layer)
        axes = {self.plan.site.axes.index(axis): self._tensor(self.plan.index(axis, batch)) for axis in self.plan.axes}

        def change(value: Tensor, hook: object) -> Tensor:
            own = value if works_in_place(name) else value.clone()
            return exchange(own, self.source[name], self._tensor(batch.prompt), axes)

        return name, change

    def _tensor(self, numbers: np.ndarray) -> Int[Tensor, " run"]:
        return torch.as_tensor(numbers, device=self.base.device)


class HookedEngine(_Patched):
    """Full runs of the hooked model, many patches in one batch: what every architecture can do."""

    def __init__(self, model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        super().__init__(model, plan, base, source)
        self.scorer = scorer

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        both = (self.model(self.base), self.source.logits)
        return [self.scorer.of_logits(logits[:, -1], everyone) for logits in both]

    def batches(self, budget: float) -> Iterator[Batch]:
        """Cut the sweep into batches within the budget, each in one layer."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (16 * cfg.d_model + 6 * (cfg.d_mlp or 0) + 2 * cfg.d_vocab + 3 * cfg.n_heads * length)
        most = max(1, min(int(budget / (per_token * length)), max(1, _TOKENS_AT_ONCE // length)))
        batch = self.plan.open
        for layer in range(len(self.plan.layers)):
            here = batch.take(batch.layer == layer)
            for begin in range(0, len(here), most):
                yield here.take(slice(begin, begin + most))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        layer = self.plan.layers[int(batch.layer[0])]
        hook, change = self.edit(batch, layer)
        logits = self.model.run_with_hooks(self.base[self._tensor(batch.prompt)], fwd_hooks=[(hook, change)])
        return self.scorer.of_logits(logits[:, -1], batch.prompt)


class ResumedEngine(_Patched):
    """Runs that begin at the patched layer and position, packed, on the model's twin.

    A patch of anything but the residual stream is first turned into one: the patched layer runs with its hooks.
    """

    def __init__(self, model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        self.twin = twin_of(model)
        self.direct = plan.site.name in ("resid_pre", "resid_post")
        self.kept, self.scorer = self.twin.reference(torch.cat([base, source])), scorer
        if self.direct:
            self.model, self.plan, self.base = model, plan, base
            self.sources = [stream[len(base) :] for stream in self.kept.streams]
        else:
            super().__init__(model, plan, base, source)
            self.calls = _layer_calls(model, base)
        scorer.learn_direction(self.twin)

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        both = self.kept.streams[-1][:, -1].split(len(self.base))
        return [self.scorer.of_rows(self.twin, rows, everyone) for rows in both]

    def batches(self, budget: float) -> Iterator[Batch]:
        """Cut the sweep into batches within the budget."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (14 * cfg.d_model + 5 * (cfg.d_mlp or 4 * cfg.d_model)) + 8 * cfg.n_heads * length
        per_run = 8 * cfg.d_vocab if self.scorer.vocabulary_is_read else 0
        per_run += 8 * length * cfg.d_model  # keys and values of the prefix
        most_tokens = min(int(budget / per_token), _TOKENS_AT_ONCE)
        yield from self.plan.batches(max(1, most_tokens), max(1, int(budget / per_run)))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        lanes = batch.lanes()
        late = 0 if self.plan.site.name == "resid_pre" else 1
        waiting = {layer + late: place for place, layer in enumerate(self.plan.layers)}
        rows: list[list[Tensor]] = [[] for _ in lanes]  # for each lane the rows of its runs, in order
        joined: list[list[np.ndarray]] = [[] for _ in lanes]
        for layer in range(self.model.cfg.n_layers + 1):
            if layer in waiting:
                self._join(batch, lanes, waiting[layer], rows, joined)
            if layer < self.model.cfg.n_layers and any(rows):
                self._step(layer, lanes, rows)
        return self._scores(batch, lanes, rows, joined)

    def _join(self, batch: Batch, lanes: list, place: int, rows: list, joined: list) -> None:
        """Let the runs that are patched in this layer come in."""
        layer = self.plan.layers[place]
        entering = [part[batch.layer[part] == place] for _, part in lanes]
        streams = None if self.direct else self._through(batch.take(np.concatenate(entering)), layer)
        begin = 0
        for number, ((lane, _), runs) in enumerate(zip(lanes, entering, strict=True)):
            if len(runs):
                own = (
                    self._patched_stream(lane, layer).repeat(len(runs), 1)
                    if streams is None
                    else streams[begin : begin + len(runs), lane.start :].flatten(0, 1)
                )
                rows[number].append(own)
                joined[number].append(runs)
            begin += len(runs)

    def _step(self, layer: int, lanes: list, rows: list) -> None:
        """Run everyone who is in through one layer."""
        length = self.plan.positions
        inside = [(number, lane) for number, (lane, _) in enumerate(lanes) if rows[number]]
        sizes = [sum(len(part) for part in rows[number]) for number, _ in inside]
        runs = [size // (length - lane.start) for size, (_, lane) in zip(sizes, inside, strict=True)]
        packed = torch.cat([part for number, _ in inside for part in rows[number]])
        out = self.twin.advance(
            layer, packed, [(lane, n) for (_, lane), n in zip(inside, runs, strict=True)], self.kept
        )
        for (number, _), part in zip(inside, out.split(sizes), strict=True):
            rows[number] = [part]

    def _scores(self, batch: Batch, lanes: list, rows: list, joined: list) -> np.ndarray:
        ends = [
            torch.cat(rows[number]).unflatten(0, (-1, self.plan.positions - lane.start))[:, -1]
            for number, (lane, _) in enumerate(lanes)
        ]
        order = np.concatenate(list(itertools.chain.from_iterable(joined)))
        values = np.empty(len(batch))
        values[order] = self.scorer.of_rows(self.twin, torch.cat(ends), batch.prompt[order])
        return values

    def _patched_stream(self, lane: Lane, layer: int) -> Float[Tensor, "position d_model"]:
        """Give the residual stream from a lane's start on, with the source's in its first place, or everywhere."""
        at = layer + (self.plan.site.name == "resid_post")
        source = self.sources[at][lane.prompt, lane.start :]
        if "position" not in self.plan.axes:
            return source
        return torch.cat([source[:1], self.kept.streams[at][lane.prompt, lane.start + 1 :]])

    def _through(self, batch: Batch, layer: int) -> Float[Tensor, "run position d_model"]:
        """Run the patched layer itself, with its hooks."""
        if not len(batch):
            return torch.empty(0)
        most = max(1, _TOKENS_AT_ONCE // self.plan.positions)
        parts = [batch.take(slice(begin, begin + most)) for begin in range(0, len(batch), most)]
        return torch.cat([self._through_part(part, layer) for part in parts])

    def _through_part(self, batch: Batch, layer: int) -> Float[Tensor, "run position d_model"]:
        hidden, unnamed, named = self.calls[layer]
        runs = len(batch)
        more = [_for_runs(value, runs) for value in unnamed]
        options = {name: _for_runs(value, runs) for name, value in named.items()}
        with self.model.hooks(fwd_hooks=[self.edit(batch, layer)]):
            out = self.model.blocks[layer](hidden[self._tensor(batch.prompt)], *more, **options)
        return out[0] if isinstance(out, tuple) else out


def _layer_calls(model: TransformerBridge, base: Tensor) -> list[tuple[Tensor, tuple, dict[str, Any]]]:
    """Record with what each hooked layer is called in a run."""
    calls: list[tuple[Tensor, tuple, dict[str, Any]]] = []

    def record(_: object, arguments: tuple, named: dict[str, Any]) -> None:
        hidden, *rest = arguments if arguments else (named["hidden_states"],)
        more = {name: value for name, value in named.items() if name != "hidden_states"}
        calls.append((hidden, tuple(rest), {**more, **({"use_cache": False} if "use_cache" in more else {})}))

    handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in model.blocks]
    try:
        model(base, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _for_runs(value: Any, runs: int) -> Any:
    """Give an argument of a layer for another number of runs: masks and positions are the same for all."""
    if isinstance(value, tuple):
        return tuple(_for_runs(part, runs) for part in value)
    if torch.is_tensor(value) and value.ndim >= 2:
        return value[:1].expand(runs, *value.shape[1:])
    return value
