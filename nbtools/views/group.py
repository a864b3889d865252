"""Several views as one: linked by what is pinned in them, compared on one scale, saved together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import ipywidgets as widgets

from nbtools.errors import InputError
from nbtools.views.base import View, bundle, save
from nbtools.views.options import listed_options
from nbtools.views.pictures import stacked, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Group", "Link", "compare", "link", "links_between"]

_links: WeakSet[Link] = WeakSet()


class Link:
    """Holds the pins of two views together until it is undone; made by `link`."""

    def __init__(self, one: View, other: View, dimensions: Sequence[str]) -> None:
        self.views, self.dimensions = (one, other), tuple(dimensions)
        self._undo, self._copying = [], False
        for dimension in dimensions:
            self._follow(one, other, dimension)
            self._follow(other, one, dimension)
        _links.add(self)
        one._links = [*getattr(one, "_links", []), self]  # a link lives as long as its views

    def _follow(self, leader: View, follower: View, dimension: str) -> None:
        trait, other = leader._pins[dimension], follower._pins[dimension]

        def copy(change: dict[str, Any]) -> None:
            if self._copying:
                return  # what the follower makes of a pin is its own: sent back, two views could go on forever
            self._copying = True
            try:
                _pin(follower, other, change["new"])
            finally:
                self._copying = False

        leader.observe(copy, trait)
        self._undo.append(lambda: leader.unobserve(copy, trait))

    def unlink(self) -> None:
        """Let the views go their own ways again."""
        while self._undo:
            self._undo.pop()()
        _links.discard(self)
        self.views[0]._links = [link for link in self.views[0]._links if link is not self]

    def __repr__(self) -> str:
        return f"Link({' ↔ '.join(type(view).__name__ for view in self.views)}, {', '.join(self.dimensions)})"


def _pin(view: View, trait: str, value: Any) -> None:
    """Pin the same thing in another view, if it is there."""
    value = (value[-1] if value else None) if isinstance(value, list) else value
    current = getattr(view, trait)
    if value is None and not view.traits()[trait].allow_none and not isinstance(current, list):
        return  # a view that always has a head on show keeps it
    try:
        setattr(view, trait, current if value == _single(current) else _shaped(value, current))
    except InputError:
        return  # this view does not have it


def _single(pinned: Any) -> Any:
    return (pinned[-1] if pinned else None) if isinstance(pinned, list) else pinned


def _shaped(value: Any, like: Any) -> Any:
    if isinstance(like, list):
        return [] if value is None else [value]
    return value


@listed_options
def link(one: View, other: View, *, on: str | Iterable[str] | None = None) -> Link:
    """Pin something in one view and it is pinned in the other, live and in a page without a kernel.

    Parameters
    ----------
    one, other
        Two views that share a dimension along which something can be pinned: ``head``, ``position``, ``layer``…
    on
        The dimensions to share; by default all that both views have.

    Returns
    -------
    Link
        Its ``unlink()`` undoes it.

    Raises
    ------
    InputError
        If the views share no such dimension.

    Examples
    --------
    >>> from nbtools import views
    >>> one, other = views.head_grid([[0.1, 0.9]]), views.head_grid([[0.5, 0.2]])
    >>> linked = views.link(one, other)
    >>> one.selected = ["0.1"]
    >>> other.selected
    ['0.1']
    """
    shared = [dimension for dimension in one._pins if dimension in other._pins]
    asked = shared if on is None else [on] if isinstance(on, str) else list(on)
    if not asked or not set(asked) <= set(shared):
        have = [f"{type(view).__name__} pins {', '.join(view._pins) or 'nothing'}" for view in (one, other)]
        msg = f"cannot link on {', '.join(asked) or 'anything'}: {', '.join(have)}; name a dimension that both have"
        raise InputError(msg)
    made = Link(one, other, asked)
    for dimension in asked:
        _pin(other, other._pins[dimension], getattr(one, one._pins[dimension]))
    return made


def links_between(views: Sequence[View]) -> list[list[list[Any]]]:
    """List the links within some views as pairs of [place of the view, trait]."""
    place = {id(view): at for at, view in enumerate(views)}
    found = [
        [[place[id(view)], view._pins[dimension]] for view in made.views]
        for made in _links
        for dimension in made.dimensions
        if all(id(view) in place for view in made.views)
    ]
    return sorted(found)


class Group(widgets.VBox):
    """Rows of views, with controls above them if there are any, that are shown and saved as one.

    Parameters
    ----------
    rows
        The views of each row, from top to bottom.
    controls
        Widgets above the views; they need a kernel, and are left out where there is none.

    Examples
    --------
    >>> from nbtools import views
    >>> Group([[views.head_grid([[0.1, 0.9]])]])
    Group(HeadGrid(layers=1, heads=2, selected=[]))
    """

    def __init__(self, rows: Sequence[Sequence[View]], *, controls: Sequence[widgets.Widget] = ()) -> None:
        self.rows = [list(row) for row in rows]
        super().__init__([*controls, *map(_side_by_side, self.rows)])

    def figure(self) -> Figure:
        """Draw the views as they are now, in the same rows, with matplotlib."""
        return stacked([[titled(view._drawing(), view.title) for view in row] for row in self.rows]).figure()

    def save(self, path: str | Path) -> Path:
        """Write the views as one ``.png``, ``.svg``, ``.pdf`` or ``.html``, as `View.save` does."""
        return save(self.rows, self.figure, path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(view) for row in self.rows for view in row)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        data = super()._repr_mimebundle_(**kwargs)
        return {**data, **bundle(self.rows, self.figure(), repr(self))}


def _side_by_side(row: Sequence[View]) -> widgets.Widget:
    if len(row) == 1:
        return row[0]
    box = widgets.HBox(row, layout=widgets.Layout(grid_gap="24px", align_items="flex-start"))
    return box.add_class("nb-beside")  # shared.css says who gets how much of its width


class Compare(Group):
    """Two views locked to one selection and one colour scale; made by `compare`."""

    def __init__(self, one: View, other: View) -> None:
        self._busy = False
        super().__init__([[one, other]])
        shared = set(one._pins) & set(other._pins)
        self.link = link(one, other) if shared else None
        self._agree()
        for view in (one, other):
            view.observe(self._agree, "_frame")

    def _agree(self, change: Any = None) -> None:
        """Put both on the range that holds the numbers of both, unless that was what changed."""
        if self._busy:
            return
        self._busy = True
        try:
            natural = [view._natural for view in self.rows[0]]
            low, high = min(scale.vmin for scale in natural), max(scale.vmax for scale in natural)
            for view in self.rows[0]:
                if (view._scale.vmin, view._scale.vmax) != (low, high):
                    view.rescale(low, high)
        finally:
            self._busy = False


@listed_options
def compare(one: View, other: View, *, titles: Sequence[str] = ("", "")) -> Compare:
    """Two views side by side, on one colour scale; what is pinned in one is pinned in the other.

    Parameters
    ----------
    one, other
        Views of the same kind, such as the attention of one head on two prompts.
    titles
        What to write above each.

    Returns
    -------
    Compare
        A `Group`. When either view shows something else, the scale that both share follows.

    Raises
    ------
    InputError
        If the views are of different kinds, so that no scale can be shared.

    Examples
    --------
    >>> from nbtools import views
    >>> pair = views.compare(views.head_grid([[0.1, 0.5]]), views.head_grid([[0.0, 2.0]]), titles=["clean", "patched"])
    >>> [view._scale.vmax for view in pair.rows[0]]
    [2.0, 2.0]
    """
    if one._name != other._name:
        msg = f"cannot compare {type(one).__name__} with {type(other).__name__}: expected two views of one kind"
        raise InputError(msg)
    if len(titles) != 2:
        msg = f"expected two titles, got {len(titles)}"
        raise InputError(msg)
    for view, title in zip((one, other), titles, strict=True):
        view.title = title or view.title
    return Compare(one, other)
