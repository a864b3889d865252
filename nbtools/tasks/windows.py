"""Windows of text of one kind, for what a model does on one kind and not on another."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import InputError, PromptError
from nbtools.tasks.streams import repeated_tokens

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["WINDOW_KINDS", "windows"]

WINDOW_KINDS: dict[str, str] = {
    "prose": "sentences of Python's own help texts",
    "code": "bodies of functions of Python's standard library",
    "repeats": "half a window of prose, written twice",
    "random": "random tokens, written once",
}
_MODULES = ("argparse", "ast", "calendar", "configparser", "csv", "difflib", "fractions", "gettext", "heapq", "inspect")
_MODULES += ("mailbox", "optparse", "pathlib", "pickle", "plistlib", "shutil", "statistics", "tarfile", "textwrap")
_MODULES += ("threading", "traceback", "turtle", "typing", "uuid", "zipfile")


def windows(
    model: TransformerBridge, kind: str = "prose", *, prompts: int = 16, length: int = 64, seed: int = 0
) -> Int[Tensor, "prompt position"]:
    """Draw windows of text of one kind, each from the beginning of a paragraph or of a function.

    Texts are read from what comes with Python, so they need no network, and differ a little from one Python to
    the next.

    Parameters
    ----------
    kind
        One of `WINDOW_KINDS`: ``"prose"``, ``"code"``, ``"repeats"`` or ``"random"``.
    prompts, length
        How many windows, and of how many tokens.
    seed
        Seed of the draw; no text is drawn twice.

    Returns
    -------
    Tensor
        Ids ``[prompt, position]``, on the model's device, without special tokens.

    Raises
    ------
    InputError
        If there is no such kind, or there are not so many windows of this length.
    PromptError
        If the model has no tokenizer.

    Examples
    --------
    >>> model = load()
    >>> code = windows(model, "code", prompts=2, length=32)
    >>> tuple(code.shape), model.tokenizer.decode(code[0])[:4]
    ((2, 32), 'def ')
    """
    if kind not in WINDOW_KINDS:
        msg = f"expected a kind of text, one of {', '.join(WINDOW_KINDS)}, got {kind!r}"
        raise InputError(msg)
    if kind == "random":
        return repeated_tokens(model, length=length, prompts=prompts, repeats=1, seed=seed)
    if model.tokenizer is None:
        msg = "this model has no tokenizer, and reads no text: draw token ids with repeated_tokens"
        raise PromptError(msg)
    return _drawn(model, kind, prompts, length, seed)


def _drawn(model: TransformerBridge, kind: str, prompts: int, length: int, seed: int) -> Int[Tensor, "prompt position"]:
    half = (length + 1) // 2 if kind == "repeats" else length
    texts = _TEXTS["prose" if kind == "repeats" else kind]()
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    found: list[list[int]] = []
    for place in order:
        if len(found) == prompts:
            break
        ids = model.tokenizer.encode(texts[place], add_special_tokens=False)
        if len(ids) >= half:
            found.append((ids[:half] * 2)[:length])
    if len(found) < prompts or prompts < 1 or length < 2:
        msg = f"expected 1 to {len(found)} windows of {length} tokens of {kind}, got prompts={prompts}: ask for fewer"
        raise InputError(msg)
    return torch.tensor(found, device=model.cfg.device)


@cache
def _prose() -> tuple[str, ...]:
    """Give the paragraphs of Python's help texts that are sentences, without programs and tables."""
    from pydoc_data.topics import topics

    paragraphs = (" ".join(part.split()) for text in topics.values() for part in re.split(r"\n\s*\n", text))
    return tuple(dict.fromkeys(filter(_is_prose, paragraphs)))


def _is_prose(paragraph: str) -> bool:
    plain = sum(character.isalpha() or character in " ,.:;'\"()-“”’" for character in paragraph)
    starts = paragraph[:1].isupper() and paragraph.endswith((".", ":"))
    return starts and len(paragraph) > 250 and plain > 0.97 * len(paragraph)


@cache
def _code() -> tuple[str, ...]:
    """Give the functions of some modules, without what is written about them."""
    folder = Path(ast.__file__).parent
    found = (text for name in _MODULES for text in _functions(folder / f"{name}.py"))
    return tuple(dict.fromkeys(found))


def _functions(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            node.decorator_list = []
            yield ast.unparse(node)


_TEXTS: dict[str, Callable[[], tuple[str, ...]]] = {"prose": _prose, "code": _code}
