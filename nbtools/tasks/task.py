"""A task: pairs of prompts, and what each should say next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError, PromptError
from nbtools.models.tokens import Tokens
from nbtools.tasks._show import pairs_html, shown
from nbtools.tasks.metric import LogitDifference

__all__ = ["Task"]

END = "END"


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """Clean and corrupted prompts of equal length, the answer to each clean one, and where to look.

    A task is made by `ioi`, `facts` or `pair`. It has a length (its prompts), gives one prompt by number and several
    by slice, and can be looped over.

    Attributes
    ----------
    name
        What the task is called in results.
    clean, corrupted
        Token ids ``[prompt, position]`` and their texts, of the same shape.
    answer
        For each prompt the id of the token that follows the clean one.
    wrong
        For each prompt the id that competes with it: in most tasks what follows the corrupted one.
    positions
        Named positions, one for each prompt, counted from 0. ``END`` is always there: the last one.
    model_name
        The model whose tokenizer made the ids.
    texts
        The text of the tokens in `answer` and `wrong`, by id; for display.

    Examples
    --------
    >>> from nbtools.tasks import facts
    >>> task = facts(load(), relation="capital", prompts=4)
    >>> task
    Task('facts', prompts=4, positions=10: SUBJECT END, model='SmolLM2-135M')
    >>> task[0].single, len(task[:2]), task.end, task.first_difference == task.positions["SUBJECT"]
    (True, 2, 9, True)
    """

    name: str
    clean: Tokens
    corrupted: Tokens
    answer: Int[Tensor, " prompt"]
    wrong: Int[Tensor, " prompt"]
    positions: dict[str, list[int]]
    model_name: str
    texts: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_positions(self)
        _check_pairs(self)

    def __len__(self) -> int:
        return self.clean.ids.shape[0]

    def __iter__(self) -> Iterator[Task]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: int | slice) -> Task:
        rows = self._rows(index)
        return Task(
            name=self.name,
            clean=_take(self.clean, rows),
            corrupted=_take(self.corrupted, rows),
            answer=self.answer[rows],
            wrong=self.wrong[rows],
            positions={name: [places[row] for row in rows] for name, places in self.positions.items()},
            model_name=self.model_name,
            texts=self.texts,
        )

    def __repr__(self) -> str:
        places = " ".join(self.positions)
        size = f"prompts={len(self)}, positions={len(self.clean)}: {places}"
        return f"Task({self.name!r}, {size}, model={self.model_name!r})"

    def _repr_html_(self) -> str:
        return pairs_html(self)

    @property
    def single(self) -> bool:
        """Whether there is one prompt: results then have no prompt dimension."""
        return len(self) == 1

    @property
    def end(self) -> int:
        """The last position: the metric reads the logits there, ``logits[:, task.end]``."""
        return len(self.clean) - 1

    @property
    def first_difference(self) -> list[int]:
        """For each pair the first position where its tokens differ; before it both runs are identical."""
        return (self.clean.ids != self.corrupted.ids).int().argmax(1).tolist()

    @property
    def metric(self) -> LogitDifference:
        """The logit of the answer less that of the wrong token, at END, in nats."""
        return LogitDifference(self.answer, self.wrong)

    def swap(self) -> Task:
        """Exchange clean and corrupted, answer and wrong: from denoising to noising, and back.

        Named positions stay where they are: what is called S2 is still the place where S2 was.

        Examples
        --------
        >>> from nbtools.tasks import ioi
        >>> task = ioi(load(), prompts=2)
        >>> back = task.swap()
        >>> back.clean is task.corrupted, back.answer is task.wrong
        (True, True)
        """
        return Task(
            name=self.name,
            clean=self.corrupted,
            corrupted=self.clean,
            answer=self.wrong,
            wrong=self.answer,
            positions=self.positions,
            model_name=self.model_name,
            texts=self.texts,
        )

    def _rows(self, index: int | slice) -> list[int]:
        try:
            rows = range(len(self))[index]
        except (IndexError, TypeError) as error:
            msg = f"expected a prompt from 0 to {len(self) - 1} or a slice, got {index!r}"
            raise InputError(msg) from error
        if isinstance(rows, int):
            return [rows]
        if not rows:
            msg = f"the slice {index!r} leaves none of the task's {len(self)} prompts"
            raise InputError(msg)
        return list(rows)


def _take(prompts: Tokens, rows: list[int]) -> Tokens:
    return Tokens(prompts.ids[rows], [prompts.labels[row] for row in rows], single=len(rows) == 1)


def _check_shapes(task: Task) -> None:
    clean, corrupted = (tuple(side.ids.shape) for side in (task.clean, task.corrupted))
    if clean != corrupted:
        msg = f"expected clean and corrupted prompts of the same shape, got {clean} and {corrupted}"
        raise ArrayError(msg)
    for name in ("answer", "wrong"):
        shape = tuple(getattr(task, name).shape)
        if shape != (len(task),):
            msg = f"expected one {name} token for each of {len(task)} prompts, got shape {shape}"
            raise ArrayError(msg)


def _check_positions(task: Task) -> None:
    if task.positions.get(END) != [task.end] * len(task):
        msg = f"expected END, the last position, {task.end}, for each prompt, got {task.positions.get(END)}"
        raise ArrayError(msg)
    for name, places in task.positions.items():
        if len(places) != len(task) or not all(0 <= place <= task.end for place in places):
            msg = f"expected {name} to be {len(task)} positions from 0 to {task.end}, one for each prompt, got {places}"
            raise ArrayError(msg)


def _check_pairs(task: Task) -> None:
    differ = (task.clean.ids != task.corrupted.ids).any(1).tolist()
    for row, (ours, theirs) in enumerate(zip(task.answer.tolist(), task.wrong.tolist(), strict=True)):
        where = f"prompt {row} ({shown(task.clean.labels[row])})"
        if not differ[row]:
            msg = f"{where} is the same clean and corrupted: expected them to differ in at least one token"
            raise PromptError(msg)
        if ours == theirs:
            token = task.texts.get(ours, str(ours))
            msg = f"{where} has {token!r} both as answer and as wrong token: expected two different ones"
            raise PromptError(msg)
