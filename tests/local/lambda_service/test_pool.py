"""Environments of one function: warm, one event at a time, scaled and reaped."""

import asyncio
import json

import psutil
import pytest

from infra.local.lambda_service.results import TooManyRequests
from tests.local.lambda_service.support import MakeFunction, Meeting, StartService, answer, lives, submit, until


async def test_an_environment_is_kept_warm(start_service: StartService, function: MakeFunction) -> None:
    """Invocations one after the other run in one process, which remembers."""
    service = await start_service(function("count"))
    answers = [json.loads((await service.invoke("count", {})).payload) for _ in range(5)]
    assert [a["count"] for a in answers] == [1, 2, 3, 4, 5]
    assert len({a["pid"] for a in answers}) == 1


async def test_one_event_at_a_time_in_each_environment(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """Concurrent invocations run in processes of their own."""
    service = await start_service(function("meet"))
    invocations = [submit(service, "meet", {"port": meeting.port, "i": i}) for i in range(4)]
    visitors = [await meeting.next() for _ in invocations]
    assert len({visitor.pid for visitor in visitors}) == 4
    for visitor in visitors:
        visitor.let_go()
    answers = [await answer(invocation) for invocation in invocations]
    assert [a["event"]["i"] for a in answers] == [0, 1, 2, 3]


async def test_a_free_environment_serves_who_waits_before_another_is_started(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """An invocation waits a little for a busy environment before one more is started for it."""
    service = await start_service(function("meet"), scale_out_after_ms=60_000)
    first = submit(service, "meet", {"port": meeting.port})
    visitor = await meeting.next()
    second = submit(service, "meet", {"port": meeting.port})
    visitor.let_go()
    again = await meeting.next()
    again.let_go()
    assert (await answer(first))["pid"] == (await answer(second))["pid"]


async def test_reserved_concurrency_throttles(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """Over its reserved concurrency a function is throttled, and free again when an invocation has ended."""
    service = await start_service(function("meet", reserved_concurrency=2))
    invocations = [submit(service, "meet", {"port": meeting.port}) for _ in range(2)]
    with pytest.raises(TooManyRequests) as caught:
        submit(service, "meet", {"port": meeting.port})
    assert caught.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    for _ in invocations:
        (await meeting.next()).let_go()
    await asyncio.gather(*invocations)
    third = submit(service, "meet", {"port": meeting.port})
    (await meeting.next()).let_go()
    await third


async def test_the_account_s_concurrency_throttles(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """Functions share the account's concurrency."""
    service = await start_service(function("meet"), function("echo"), account_concurrency=1)
    invocation = submit(service, "meet", {"port": meeting.port})
    with pytest.raises(TooManyRequests) as caught:
        submit(service, "echo", {})
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    (await meeting.next()).let_go()
    await invocation
    assert await answer(submit(service, "echo", {"a": 1})) == {"a": 1}


async def test_idle_environments_are_reaped_but_for_the_provisioned(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """Environments unused for idle_s end; provisioned ones stay."""
    service = await start_service(function("meet", idle_s=0, provisioned=1))
    (pool,) = service.pools
    assert len(pool.source.environments) == 1
    invocations = [submit(service, "meet", {"port": meeting.port}) for _ in range(3)]
    visitors = [await meeting.next() for _ in invocations]
    for visitor in visitors:
        visitor.let_go()
    await asyncio.gather(*invocations)
    pool.reap()
    await until(lambda: len(pool.source.environments) == 1)
    assert [lives(visitor.pid) for visitor in visitors].count(True) == 1
    assert pool.source.totals.environments == 2
    assert pool.source.totals.invocations == 2


async def test_a_killed_idle_environment_is_replaced(start_service: StartService, function: MakeFunction) -> None:
    """An environment that dies while idle costs no invocation."""
    service = await start_service(function("count"))
    first = json.loads((await service.invoke("count", {})).payload)
    psutil.Process(first["pid"]).kill()
    (pool,) = service.pools
    await until(lambda: not pool.source.environments)
    second = json.loads((await service.invoke("count", {})).payload)
    assert second["count"] == 1
    assert second["pid"] != first["pid"]


async def test_a_killed_template_is_replaced(start_service: StartService, function: MakeFunction) -> None:
    """When the template dies, so do its environments, and the next invocation starts a new one."""
    service = await start_service(function("count"))
    first = json.loads((await service.invoke("count", {})).payload)
    (pool,) = service.pools
    psutil.Process(pool.source.template_pid).kill()
    await until(lambda: pool.source.template_pid is None and not pool.source.environments)
    await until(lambda: not lives(first["pid"]))
    second = json.loads((await service.invoke("count", {})).payload)
    assert second["count"] == 1


async def test_a_template_killed_under_an_invocation_fails_it(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """An invocation whose environment goes with the template ends with Runtime.ExitError."""
    service = await start_service(function("meet"))
    invocation = submit(service, "meet", {"port": meeting.port})
    await meeting.next()
    psutil.Process(service.pools[0].source.template_pid).kill()
    assert (await answer(invocation))["errorType"] == "Runtime.ExitError"


async def test_closing_ends_every_process_and_every_invocation(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """No process outlives the service, and nobody waits for ever."""
    service = await start_service(function("meet", reserved_concurrency=2), function("echo", provisioned=2))
    invocation = submit(service, "meet", {"port": meeting.port})
    visitor = await meeting.next()
    pids: list[int | None] = [visitor.pid]
    for pool in service.pools:
        pids += [pool.source.template_pid, *(environment.pid for environment in pool.source.environments)]
    assert len(set(pids)) == 5
    await service.close()
    assert (await answer(invocation))["errorType"] == "Runtime.ExitError"
    assert not [pid for pid in pids if pid is None or lives(pid)]


async def test_drain_waits_for_invocations_under_way(
    start_service: StartService, function: MakeFunction, meeting: Meeting
) -> None:
    """Draining tells whether everything has ended in time."""
    service = await start_service(function("meet"))
    assert await service.drain(0)
    invocation = submit(service, "meet", {"port": meeting.port})
    visitor = await meeting.next()
    assert not await service.drain(0)
    visitor.let_go()
    await invocation
    assert await service.drain(0)


async def test_log_tail_is_what_this_invocation_logged(start_service: StartService, function: MakeFunction) -> None:
    """The tail holds the output of one invocation, not of those before it."""
    service = await start_service(function("talk"))
    await service.invoke("talk", {"word": "first"})
    result = await service.submit("talk", b'{"word": "second"}', tail=True)
    assert result.log_tail is not None
    assert b"printed second" in result.log_tail
    assert b"first" not in result.log_tail
