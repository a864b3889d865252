"""Claims: what a source reports beside what was measured here, with a verdict that a test must bear out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Literal

from nbtools.errors import ArrayError, InputError, NbtoolsError
from nbtools.lessons.markup import box, html_table, html_text, markdown_table, plain_table

__all__ = ["CLAIMS_MIME", "CLAIMS_VERSION", "Claim", "ClaimError", "ClaimsTable", "claim", "claims_table"]

CLAIMS_MIME = "application/vnd.nbtools.claims+json"
CLAIMS_VERSION = 1

Verdict = Literal["holds", "partly", "fails"]

_SHAPES = {"holds": "✓", "partly": "◐", "fails": "✗"}
_ACCENTS = {"holds": "#009E73", "partly": "#E69F00", "fails": "#D55E00"}  # told apart by colour-blind readers
_COLUMNS = ("claim", "source", "source's figure", "ours", "verdict", "why")


class ClaimError(NbtoolsError, AssertionError):
    """A stated verdict disagrees with what was measured."""


@dataclass(frozen=True, repr=False)
class Claim:
    """A statement of a source, what was measured here, and a verdict that the measurement bears out.

    Attributes
    ----------
    statement, source, figure, ours
        Text, as shown.
    test
        What was measured.
    verdict
        ``"holds"``, ``"partly"`` or ``"fails"``; checked against `test` whenever a claim is made.
    why
        The explanation of a verdict other than ``"holds"``.
    """

    statement: str
    source: str
    figure: str
    ours: str
    test: bool
    verdict: Verdict
    why: str = ""

    def __post_init__(self) -> None:
        _need_text(self)
        if self.verdict not in _SHAPES:
            msg = f'expected the verdict "holds", "partly" or "fails", got {self.verdict!r}'
            raise InputError(msg)
        if self.verdict != "holds" and not self.why.strip():
            msg = f"a verdict of {self.verdict!r} needs an explanation: pass why= for {self.statement!r}"
            raise InputError(msg)
        if self.test != (self.verdict != "fails"):
            raise ClaimError(_disagreement(self))

    def __repr__(self) -> str:
        lines = [
            f"{self.shown_verdict}: {self.statement}",
            f"{self.source}: {self.figure}",
            f"here: {self.ours}",
        ]
        return "\n  ".join([*lines, f"why: {self.why}"] if self.why else lines)

    @property
    def shown_verdict(self) -> str:
        """The verdict as a shape and a word, so that it needs no colour."""
        return f"{_SHAPES[self.verdict]} {self.verdict}"

    def to_html(self) -> str:
        """Draw the claim as a small card."""
        rows = [(self.source, self.figure), ("here", self.ours), ("why", self.why)]
        lines = "".join(f"<div>{html_text(name)}: {html_text(text)}</div>" for name, text in rows if text)
        title = f"<strong>{self.shown_verdict}</strong>: {html_text(self.statement)}"
        return box(f"<div>{title}</div>", lines, accent=_ACCENTS[self.verdict])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return _bundle(self, [self])


@dataclass(frozen=True, repr=False)
class ClaimsTable:
    """Claims as a table: claim, source, source's figure, ours, verdict, why.

    Attributes
    ----------
    claims
        The claims, in the order in which they are shown.
    """

    claims: tuple[Claim, ...]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.claims)

    def __len__(self) -> int:
        return len(self.claims)

    def __repr__(self) -> str:
        return f"{plain_table(_COLUMNS, self._rows())}\n{self.summary}" if self.claims else self.summary

    @property
    def summary(self) -> str:
        """How many claims there are, and of which verdict, in words."""
        count = Counter[str](claim.verdict for claim in self.claims)
        verdicts = ", ".join(_counted(verdict, count[verdict]) for verdict in _SHAPES if count[verdict])
        total = len(self.claims)
        return f"{total} claim{'' if total == 1 else 's'}: {verdicts}" if total else "no claims"

    def to_markdown(self) -> str:
        """Write the table as Markdown, followed by how many claims hold."""
        return f"{markdown_table(_COLUMNS, self._rows())}\n\n{self.summary}" if self.claims else self.summary

    def to_html(self) -> str:
        """Draw the table, followed by how many claims hold."""
        table = html_table(_COLUMNS, self._rows()) if self.claims else ""
        return box(table, f"<div>{self.summary}</div>")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return _bundle(self, self.claims)

    def _rows(self) -> list[tuple[str, ...]]:
        return [(c.statement, c.source, c.figure, c.ours, c.shown_verdict, c.why) for c in self.claims]


def claim(
    statement: str,
    *,
    source: str,
    figure: str | float,
    ours: str | float,
    test: bool,
    verdict: Verdict,
    why: str = "",
) -> Claim:
    """Set what a source reports beside what was measured here, and insist that the verdict is true.

    Parameters
    ----------
    statement
        What the source says, as one sentence.
    source
        Its citation.
    figure
        What it reports: text, or a number that is shown as given.
    ours
        What was measured here: text, or a number that is shown to 3 significant digits.
    test
        What was measured, as one truth value: ``mass > 0.5``, never a typed ``True``.
    verdict
        ``"holds"`` or ``"partly"`` (`test` must be true), or ``"fails"`` (`test` must be false).
    why
        Why it fails, or which part holds. Needed unless the verdict is ``"holds"``.

    Returns
    -------
    Claim
        A card in a notebook; `nbtools.lessons.collect` finds it there later.

    Raises
    ------
    ClaimError
        If `test` and `verdict` disagree.
    InputError
        If `test` is not one truth value, or a text is missing.

    Examples
    --------
    >>> mass = 0.87654
    >>> claim("The first token is a sink", source="Xiao et al. 2023", figure="more than half",
    ...       ours=mass, test=mass > 0.5, verdict="holds")
    ✓ holds: The first token is a sink
      Xiao et al. 2023: more than half
      here: 0.877
    """
    return Claim(
        statement=statement,
        source=source,
        figure=_shown(figure, "figure", digits=12),
        ours=_shown(ours, "ours", digits=3),
        test=_truth(test),
        verdict=verdict,
        why=why,
    )


def claims_table(claims: Iterable[Claim]) -> ClaimsTable:
    """Show claims as one table, as at the end of a notebook.

    Raises
    ------
    InputError
        If there is no claim, or something else is among them.

    Examples
    --------
    >>> mass = 0.8
    >>> sinks = claim("Sinks exist", source="Xiao et al. 2023", figure=0.9, ours=mass,
    ...               test=mass > 0.5, verdict="holds")
    >>> claims_table([sinks])
    | claim       | source           | source's figure | ours | verdict | why |
    | ----------- | ---------------- | --------------- | ---- | ------- | --- |
    | Sinks exist | Xiao et al. 2023 | 0.9             | 0.8  | ✓ holds |     |
    1 claim: 1 holds
    """
    listed = (claims,) if isinstance(claims, Claim) else tuple(claims)
    strangers = [type(item).__name__ for item in listed if not isinstance(item, Claim)]
    if strangers or not listed:
        msg = f"expected claims made by claim(...), got {strangers[0] if strangers else 'none'}"
        raise InputError(msg)
    return ClaimsTable(listed)


def _bundle(shown: Claim | ClaimsTable, claims: Iterable[Claim]) -> dict[str, Any]:
    # An object, not a bare list: front ends take a list in a mime bundle for lines of text.
    data = {"version": CLAIMS_VERSION, "claims": [asdict(claim) for claim in claims]}
    return {"text/plain": repr(shown), "text/html": shown.to_html(), CLAIMS_MIME: data}


def _need_text(claim: Claim) -> None:
    for name in ("statement", "source", "figure", "ours", "why"):
        value = getattr(claim, name)
        if not isinstance(value, str) or not (value.strip() or name == "why"):
            msg = f"a claim's {name} is a text that is not empty, got {value!r}: pass {name}="
            raise InputError(msg)


def _disagreement(claim: Claim) -> str:
    other = 'verdict="fails" with why=' if not claim.test else 'verdict="holds", or "partly" with why='
    return (
        f"the verdict on {claim.statement!r} is {claim.verdict!r}, so its test should have been "
        f"{not claim.test}, but it is {claim.test} (here: {claim.ours}; {claim.source}: {claim.figure}). "
        f"Look at the measurement again, or state {other}."
    )


def _counted(verdict: str, count: int) -> str:
    return f"{count} {verdict if count == 1 else verdict.removesuffix('s')}"


def _scalar(value: Any) -> Any:
    """Take the one value out of a NumPy scalar, or of an array, tensor or DataArray without dimensions."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _truth(test: Any) -> bool:
    value = _scalar(test)
    if isinstance(value, bool):
        return value
    came = f"an array of shape {tuple(test.shape)}" if hasattr(test, "shape") else repr(test)
    msg = (
        f"expected test= to be one truth value, such as mass > 0.5, got {came}; "
        "compare it with something, and join several with .all() or .any()"
    )
    raise InputError(msg)


def _shown(value: Any, name: str, *, digits: int) -> str:
    value = _scalar(value)
    if isinstance(value, (str, bool, Integral)):
        return str(value)
    if not isinstance(value, Real):
        msg = f"expected {name}= to be a number or text, got {type(value).__name__}: {value!r}"
        raise InputError(msg)
    if math.isnan(value):
        msg = f"expected {name}= to be a number, got NaN: nothing was measured; look where it comes from"
        raise ArrayError(msg)
    # Rounded first, so that 1234.5 is shown as 1230, not as 1.23e+03; adding 0 turns -0.0 into 0.
    return f"{float(f'{value:.{digits}g}') + 0:.{max(digits, 6)}g}"
