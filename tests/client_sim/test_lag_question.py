"""The question about the lag at the phone: the learner's answer is repeated until it is cleared, and belongs to its question."""

from client_sim.events import Chosen
from gateway.core.messages import LagChoice, LagCleared
from tests.client_sim.bench import Bench


def test_the_choice_is_repeated_until_the_prompt_is_cleared():
    """Each second; another prompt's end changes nothing."""
    bench = Bench().live()
    bench.ask()
    bench.tell(Chosen("continue"))
    assert bench.sent_of(LagChoice) == [LagChoice(prompt_id="lag-1", choice="continue")]
    bench.say(LagCleared, prompt_id="lag-0", why="expired")
    bench.wait(1_000)
    assert len(bench.sent_of(LagChoice)) == 1
    bench.say(LagCleared, prompt_id="lag-1", why="answered")
    bench.wait(2_000)
    assert bench.sent_of(LagChoice) == []


def test_a_choice_belongs_to_its_prompt():
    """Without a prompt there is none, and a new prompt is a new question."""
    bench = Bench().live()
    bench.tell(Chosen("skip"))
    assert bench.sent_of(LagChoice) == []
    bench.ask()
    bench.tell(Chosen("skip"))
    bench.sent()
    bench.ask("lag-2")
    bench.wait(2_000)
    assert bench.sent_of(LagChoice) == []
    bench.tell(Chosen("continue"))
    assert bench.sent_of(LagChoice) == [LagChoice(prompt_id="lag-2", choice="continue")]
