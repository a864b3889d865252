"""What explorers share: a prompt to type in, and a model that answers the newest of what was asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from nbtools.errors import NbtoolsError
from nbtools.runs.latest import Latest
from nbtools.views.group import Group

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.views.base import View

__all__ = ["PromptExplorer"]

log = logging.getLogger(__name__)


class PromptExplorer(Group):
    """A prompt above some views; each change of it is a request, and only the newest is answered.

    A subclass says what it asks for (`_asked`), answers that with the model (`_answer`), shows the answer
    (`_publish`), and calls `_listen` once the first answer is on show.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    error
        What is wrong with the prompt, in a sentence; empty if nothing is. The last good result stays.
    """

    text = traitlets.Unicode()
    error = traitlets.Unicode()

    def __init__(
        self, model: TransformerBridge, rows: Sequence[Sequence[View]], *, controls: Sequence[widgets.Widget] = ()
    ) -> None:
        self.model = model
        self.prompt = widgets.Text(description="prompt", layout=widgets.Layout(width="auto"))
        self.status = widgets.Label()
        self._latest: Latest[tuple[str, ...]] = Latest(self._serve)
        super().__init__(rows, controls=[self.prompt, widgets.HBox([*controls, self.status])])

    def _listen(self, *names: str) -> None:
        """Join the text box to the prompt, and answer each change of the prompt and of these traits from now on."""
        traitlets.link((self, "text"), (self.prompt, "value"))
        self.observe(self._request, ["text", *names])

    def _request(self, change: dict[str, Any]) -> None:
        self._latest.submit(self._asked())

    def _serve(self, request: tuple[str, ...]) -> None:
        """Answer a request; what is wrong with it is said, and loses nothing."""
        try:
            result = self._answer(*request)
        except NbtoolsError as error:
            self._complain(str(error))
        except Exception as error:
            self._complain(f"the model could not be run: {type(error).__name__}: {error}")
            log.exception("%s could not answer %r", type(self).__name__, request)
        else:
            self._publish(result, *request)

    def _complain(self, sentence: str) -> None:
        self.error = sentence
        self.status.value = f"⚠ {sentence}"

    def _asked(self) -> tuple[str, ...]:
        return (self.text,)

    def _answer(self, *request: str) -> Any:
        raise NotImplementedError

    def _publish(self, result: Any, *request: str) -> None:
        raise NotImplementedError
