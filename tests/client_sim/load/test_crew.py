"""The processes of a run, with processes that only pretend."""

import asyncio
import sys

import pytest

from client_sim.load import crew as crews
from client_sim.load.crew import Crew, CrewError, Process
from tests.client_sim.load.test_parts import settings

TOKEN = f"{sys.executable} -c \"print('token-{{i}}')\""


class Pretended:
    """A process that is full when it has three phones."""

    made: list["Pretended"]

    def __init__(self, number, take):
        self.number, self.take = number, take
        self.commands = []
        self.broken = False
        self.gone = asyncio.Event()
        self.made.append(self)

    @property
    def full(self):
        return sum(command["do"] == "add" for command in self.commands) >= 3

    def check(self):
        pass

    async def start(self, asked):
        assert not self.commands

    def begin(self, began_at):
        assert began_at > 0

    def send(self, command):
        self.commands.append(command)
        if command["do"] in ("stop", "cut"):
            self.gone.set()

    async def over(self):
        await self.gone.wait()

    async def leave(self):
        self.send({"do": "cut"})


@pytest.fixture
def pretended(monkeypatch):
    """Crews start these."""
    Pretended.made = []
    monkeypatch.setattr(crews, "Process", Pretended)
    return Pretended.made


def crew(**changes):
    fields = {"token_command": TOKEN, "ramp_s": 0, "minutes": 1e-3, "drain_s": 5}
    return Crew(settings(**{**fields, **changes}), take=lambda record: None, say=lambda text: None)


async def test_a_further_process_is_begun_when_a_core_is_full(pretended):
    """And takes the phones that follow; no more processes than are allowed."""
    assert await crew(phones=8, processes=2).run(lambda began_at: None) == "time"
    dealt = [[c["phone"] for c in each.commands if c["do"] == "add"] for each in pretended]
    assert dealt == [[0, 1, 2], [3, 4, 5, 6, 7]]
    assert next(c["token"] for c in pretended[1].commands if c["do"] == "add") == "token-3"
    assert all(each.commands[-2:] == [{"do": "stop"}, {"do": "cut"}] for each in pretended)


async def test_one_process_holds_all_where_it_can(pretended):
    """A second one would only take a core from the gateway."""
    await crew(phones=3, processes=4).run(lambda began_at: None)
    assert len(pretended) == 1


async def test_how_many_tokens_there_are_is_told_now_and_then(pretended, monkeypatch):
    """A line for each of hundreds would be all that is on the screen."""

    async def token(command, phone):
        return f"token-{phone}"

    monkeypatch.setattr(crews, "fetch_token", token)
    said = []
    held = Crew(settings(phones=25, ramp_s=0, minutes=1e-3, drain_s=5), take=lambda record: None, say=said.append)
    await held.run(lambda began_at: None)
    told = [each for each in said if each.startswith("tokens: ")]
    assert told == [f"tokens: {number} of 25" for number in (1, 10, 20, 25)]


async def test_an_interrupted_run_says_so(pretended):
    """Stopped while phones come in, nobody else is let in."""
    held = crew(phones=4, minutes=5, ramp_s=600)
    running = asyncio.create_task(held.run(lambda began_at: held.stop.set()))
    assert await running == "interrupted"
    assert sum(command["do"] == "add" for command in pretended[0].commands) <= 1


async def test_a_process_that_ends_by_itself_ends_the_run(pretended):
    """Before its time, and as failed."""
    held = crew(phones=1, minutes=5)

    def begun(began_at):
        pretended[0].broken = True
        pretended[0].gone.set()

    assert await held.run(begun) == "failed"


async def test_a_process_that_does_not_start_is_told(monkeypatch):
    """With what to look at; nothing of it stays."""
    monkeypatch.setattr(crews.sys, "executable", "/bin/false")
    process = Process(0, lambda record: None)
    with pytest.raises(CrewError, match="did not start"):
        await process.start(settings())
    await process.leave()


def test_full_is_a_matter_of_some_seconds():
    """One busy second is not a full core; three are."""
    process = Process(0, lambda record: None)
    for cpu, full in ((0.9, False), (0.9, False), (0.9, True), (0.2, False), (0.2, False)):
        process._cpu.append(cpu)
        assert process.full is full
