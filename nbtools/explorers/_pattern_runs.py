"""What the pattern editor runs: a prompt as it is and with heads made to look elsewhere, then the whole task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.explorers._answers import leading, shares
from nbtools.explorers._pattern_words import spaced
from nbtools.measures.attention import pattern_hook
from nbtools.measures.predictions import label_tokens
from nbtools.measures.scores import score
from nbtools.naming import head_label, parse_heads, visible
from nbtools.patching import force_attention
from nbtools.patching.plan import read_positions
from nbtools.runs.forward import forward
from nbtools.tasks import candidates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit
    from nbtools.tasks import Task

__all__ = ["Look", "PatternRuns", "Request"]

_BATCH = 4  # prompts at once: a few tenths of a second, and a click is heard in between
_TOP = 5  # most probable next tokens of each run
_WATCHED = 4  # prompts on which heads are suggested
_THREE = {"ANSWER", "WRONG", "OTHER"}


class Request(NamedTuple):
    """What was asked for: which heads look from where at what, and the prompt on show. Free heads look at nothing."""

    heads: tuple[str, ...]
    query: int | str
    to: tuple[int | str, ...]
    prompt: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells this edit from others, on whatever prompt; all edits that change nothing are one."""
        return (frozenset(self.heads), self.query, frozenset(self.to)) if self.to else ()

    @property
    def label(self) -> str:
        """The edit in a few letters."""
        if not self.to:
            return "as it is"
        start = "" if self.query == "END" else f" from {self.query}"
        return f"{' '.join(self.heads)}{start} → {' '.join(map(str, self.to))}"

    @property
    def row(self) -> str:
        """The same, so that its spaces are not taken for those of a token."""
        return spaced(self.label)

    def attrs(self) -> dict[str, str]:
        """Say in a result what was edited."""
        return {"heads": " ".join(self.heads), "query": str(self.query), "to": " ".join(map(str, self.to))}


class Look(NamedTuple):
    """One run: where all heads look from the query, and what is expected at the end."""

    rows: Float[Tensor, "layer prompt head position"]
    logits: Float[Tensor, "prompt vocabulary"]


class PatternRuns:
    """The runs of a model over a task. What does not depend on the edit is run once."""

    def __init__(self, model: TransformerBridge, task: Task) -> None:
        self.model, self.task = model, task
        self.among = candidates(task) if set(task.positions) >= _THREE else None
        self._plain: tuple[tuple[int, int], Look] | None = None
        self._scores: dict[int, xr.Dataset] = {}

    def suggest(self, query: int | str, *, most: int) -> list[str]:
        """Give the heads that look most at the tokens that the task names, from the query; most of all first."""
        part = self.task[:_WATCHED]
        names = [name for name in part.positions if name != query]
        start = torch.as_tensor(self._places(part, [query])[:, 0])
        wanted = torch.zeros(part.clean.ids.shape, dtype=torch.bool)
        if names:
            wanted.scatter_(1, torch.as_tensor(self._places(part, names)), True)
        before = torch.arange(len(part.clean)) < start[:, None]
        mask = wanted & before if (wanted & before).any() else before
        mask[:, 0] = False  # most heads rest on the first token
        paid = (self._look(part, start).rows * mask[:, None]).sum(-1).mean(1)
        best = paid.flatten().argsort(descending=True)[:most].tolist()
        return [head_label(*divmod(at, paid.shape[1])) for at in best]

    def places(self, names: list[int | str], prompt: int) -> list[int]:
        """Give the positions in a prompt, by name or number."""
        return self._places(self.task[prompt], names)[0].tolist()

    def name_at(self, place: int, prompt: int) -> int | str:
        """Give the task's name for a position of a prompt, so that it means something in all; or its number."""
        names = (name for name, places in self.task.positions.items() if places[prompt] == place)
        return next(names, place)

    def names(self, prompt: int) -> list[str]:
        """Give the task's names for each token of a prompt; most have none."""
        texts = [""] * len(self.task.clean)
        for name, places in self.task.positions.items():
            texts[places[prompt]] = f"{texts[places[prompt]]} {name}".strip()
        return texts

    def answer(self, request: Request) -> xr.Dataset:
        """Run one prompt with the edit, and as it is unless that is known.

        Raises
        ------
        HookError, InputError
            If a head or position does not exist, there is no head, or the query comes before what is looked at.
        """
        heads = parse_heads(request.heads, shape=(self.model.cfg.n_layers, self.model.cfg.n_heads))
        if not heads:
            msg = "expected one head or more, such as 18.6, got none"
            raise InputError(msg)
        part = self.task[request.prompt]
        start, *seen = self.places([request.query, *request.to], request.prompt)
        self._check_order(part.clean.labels[0], start, seen)
        before = self._as_it_is(request.prompt, start)
        after = self._look(part, torch.tensor([start]), self._edit(part, request)) if seen else before
        return self._labelled(part, request, before, after)

    def whole(self, request: Request) -> Iterator[xr.Dataset | None]:
        """Run all prompts of the task, as they are and with the edit; after each piece give what is known of both.

        Nothing is given where the piece was about the task as it is.
        """
        edit = partial(self._edit, request=request)
        edit(self.task)  # says so if it fits some prompts only
        found: list[xr.Dataset] = []
        for start in range(0, len(self.task), _BATCH):
            if start not in self._scores:
                self._scores[start] = self._score(start)
                yield None
            found.append(self._score(start, edit) if request.to else self._scores[start])
            before = [self._scores[at * _BATCH] for at in range(len(found))]
            yield self._joined(request, before, found)

    def _edit(self, part: Task, request: Request) -> Mapping[str, Edit]:
        if not request.to:
            return {}
        return force_attention(self.model, part, request.heads, request.to, query=request.query)

    def _places(self, part: Task, names: list[int | str]) -> np.ndarray:
        places, _ = read_positions(part, names, len(part.clean))
        return np.broadcast_to(places, (len(part), len(names))).copy()

    def _check_order(self, texts: list[str], start: int, seen: list[int]) -> None:
        for place in seen:
            if place > start:
                one, other = (f"token {at} {visible(texts[at])}" for at in (start, place))
                msg = f"{one} comes before {other}, and cannot look at it: choose earlier tokens, or another query"
                raise InputError(msg)

    def _as_it_is(self, prompt: int, start: int) -> Look:
        if self._plain is None or self._plain[0] != (prompt, start):
            self._plain = (prompt, start), self._look(self.task[prompt], torch.tensor([start]))
        return self._plain[1]

    def _look(self, part: Task, start: Tensor, edit: Mapping[str, Edit] | None = None) -> Look:
        def read(pattern: Tensor) -> Tensor:
            return pattern[torch.arange(len(start)), :, start].float().cpu()

        layers = range(self.model.cfg.n_layers)
        run = forward(self.model, part.clean, capture={pattern_hook(at): read for at in layers}, edit=edit, last=True)
        return Look(torch.stack([run[pattern_hook(at)] for at in layers]), run.logits[:, -1].float())

    def _labelled(self, part: Task, request: Request, before: Look, after: Look) -> xr.Dataset:
        texts, runs = np.array(part.clean.labels[0], dtype=object), ["before", "after"]
        rows = np.stack([look.rows[:, 0].numpy() for look in (before, after)])
        attention = xr.DataArray(rows, dims=("run", "layer", "head", "position"), attrs={"units": "probability"})
        gaps = [part.metric(look.logits).item() for look in (before, after)]
        found = {
            "attention": attention,
            "probability": xr.concat(self._expected(part, request.prompt, before, after), "run"),
            "logit_difference": ("run", np.array(gaps, np.float32), {"units": "nats"}),
        }
        coords = {"run": runs, "prompt_token": ("position", texts)}
        said = {"model": str(self.model.cfg.model_name), "task": self.task.name, "prompt": request.prompt}
        return xr.Dataset(found, coords=coords, attrs={**said, **request.attrs()})

    def _expected(self, part: Task, prompt: int, *looks: Look) -> list[xr.DataArray]:
        """Give the probability of the answer, what competes with it, and what comes first in any run."""
        runs = [shares(look.logits[0]) for look in looks]
        ids = [int(part.answer[0]), int(part.wrong[0])]
        ids += [] if self.among is None else self.among[prompt].tolist()
        ids += [token for run in runs for token in leading([run], _TOP)]
        return [label_tokens(self.model, run, list(dict.fromkeys(ids))) for run in runs]

    def _score(self, start: int, edit: Any = None) -> xr.Dataset:
        rows = slice(start, start + _BATCH)
        among = None if self.among is None else self.among[rows]
        return score(self.model, self.task[rows], edit=edit, among=among, batch=_BATCH)

    def _joined(self, request: Request, before: list[xr.Dataset], after: list[xr.Dataset]) -> xr.Dataset:
        runs = [xr.concat(parts, "prompt") for parts in (before, after)]
        found = xr.concat(runs, xr.Variable("run", ["before", "after"]), combine_attrs="override")
        candidates = {} if self.among is None else {"candidates": self.among.shape[1]}
        return found.assign_attrs(task=self.task.name, prompts=len(self.task), **candidates, **request.attrs())
