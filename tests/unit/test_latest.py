"""The newest request wins, on the thread that made the slot."""

from __future__ import annotations

import asyncio
import threading

import pytest

from nbtools.runs import Latest


def from_another_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_request_from_the_owner_is_served_before_submit_returns():
    served = []
    Latest(served.append).submit("a")
    assert served == ["a"]


def test_a_request_made_while_serving_is_served_after_not_inside():
    order = []

    def serve(request):
        order.append(("start", request))
        if request == "a":
            latest.submit("b")
        order.append(("end", request))

    latest = Latest(serve)
    latest.submit("a")
    assert order == [("start", "a"), ("end", "a"), ("start", "b"), ("end", "b")]


def test_a_flood_from_another_thread_is_served_once_with_the_newest_on_the_owner():
    served = []

    async def main():
        latest = Latest(lambda request: served.append((request, threading.get_ident())))
        from_another_thread(lambda: [latest.submit(number) for number in range(200)])
        assert served == []  # the loop was busy, as a kernel is while a cell runs
        assert latest.waiting
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert served == [(199, threading.get_ident())]


def test_without_a_loop_another_thread_serves_itself():
    served = []
    latest = Latest(served.append)
    from_another_thread(lambda: latest.submit("b"))
    assert served == ["b"]


def test_a_failing_request_does_not_lose_the_one_that_came_meanwhile():
    served, problems = [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["exception"]))

        def serve(request):
            if request == "bad":
                latest.submit("good")
                raise ValueError("bad")
            served.append(request)

        latest = Latest(serve)
        with pytest.raises(ValueError, match="bad"):
            latest.submit("bad")
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert served == ["good"]
    assert problems == []


def test_a_slot_can_be_used_again_after_a_failure():
    served = []

    def serve(request):
        if request is None:
            raise KeyboardInterrupt
        served.append(request)

    latest = Latest(serve)
    with pytest.raises(KeyboardInterrupt):
        latest.submit(None)
    latest.submit(1)
    assert served == [1]
