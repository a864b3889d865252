"""What explorers share: a model that answers the newest of what was asked, and a prompt to type in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from nbtools.errors import NbtoolsError
from nbtools.runs.latest import Latest
from nbtools.views.group import Group

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.views.base import View

__all__ = ["Explorer", "PromptExplorer"]

log = logging.getLogger(__name__)


class Explorer(Group):
    """Controls above some views; each change of them is a request, and only the newest is answered.

    A subclass says what it asks for (`_asked`), answers that with the model (`_answer`), shows the answer
    (`_publish`), and has a label for what is to be said (`status`). What is wrong with a request loses nothing.

    Attributes
    ----------
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    error = traitlets.Unicode()

    status: widgets.Label
    _asked: Callable[[], tuple[Any, ...]]
    _answer: Callable[..., Any]
    _publish: Callable[..., None]

    def __init__(
        self, model: TransformerBridge, rows: Sequence[Sequence[View]], *, controls: Sequence[widgets.Widget] = ()
    ) -> None:
        self.model = model
        self._latest: Latest[tuple[Any, ...]] = Latest(self._serve)
        super().__init__(rows, controls=controls)

    def _request(self, change: dict[str, Any]) -> None:
        self._latest.submit(self._asked())

    def _serve(self, request: tuple[Any, ...]) -> None:
        """Answer a request; what is wrong with it is said, and loses nothing."""
        try:
            result = self._answer(*request)
        except Exception as error:
            self._explain(error, request)
        else:
            self._publish(result, *request)

    def _explain(self, error: Exception, request: tuple[Any, ...]) -> None:
        """Say what went wrong; what no one foresaw goes to the log as well."""
        if isinstance(error, NbtoolsError):
            self._complain(str(error))
            return
        self._complain(f"the model could not be run: {type(error).__name__}: {error}")
        log.error("%s could not answer %r", type(self).__name__, request, exc_info=error)

    def _complain(self, sentence: str) -> None:
        self.error = sentence
        self.status.value = f"⚠ {sentence}"


class PromptExplorer(Explorer):
    """A prompt above some views; each keystroke is a request.

    A subclass calls `_listen` once the first answer is on show.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    error
        What is wrong with the prompt, in a sentence; empty if nothing is. The last good result stays.
    """

    text = traitlets.Unicode()

    def __init__(
        self,
        model: TransformerBridge,
        rows: Sequence[Sequence[View]],
        *,
        controls: Sequence[widgets.Widget] = (),
    ) -> None:
        self.prompt = widgets.Text(description="prompt", layout=widgets.Layout(width="auto"))
        self.status = widgets.Label().add_class("nb-says")
        super().__init__(model, rows, controls=[self.prompt, widgets.HBox([*controls, self.status])])

    def _listen(self, *names: str) -> None:
        """Join the text box to the prompt, and answer each change of the prompt and of these traits from now on."""
        traitlets.link((self, "text"), (self.prompt, "value"))
        self.observe(self._request, ["text", *names])

    def _asked(self) -> tuple[Any, ...]:
        return (self.text,)
