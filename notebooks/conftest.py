"""How nbval runs the series: what is not compared, and what happens after a cell has failed."""

import pytest


def pytest_collectstart(collector):
    """Leave out of the comparison what depends on the front end, not on the model."""
    if isinstance(getattr(collector, "skip_compare", None), tuple):
        collector.skip_compare += ("stderr", "text/html", "application/javascript")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember the first cell of a notebook that failed."""
    report = yield
    if report.failed and not hasattr(item.parent, "first_failure"):
        item.parent.first_failure = item.name
    return report


def pytest_runtest_setup(item):
    """Skip the cells after it: they would fail for want of what it did not define."""
    failed = getattr(item.parent, "first_failure", None)
    if failed is not None:
        pytest.skip(f"{failed} failed")
