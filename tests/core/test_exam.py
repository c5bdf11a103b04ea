"""The exam's plans and the prompts made of them."""

import itertools
import re

import pytest

from gateway.core.exam import build_plan, shortened
from gateway.core.prompts import Direction, says_closing, system_prompt


@pytest.mark.parametrize(("name", "choice"), list(itertools.product(["full", "demo", "tiny"], range(9))))
def test_every_plan_is_a_whole_test(name, choice):
    """Parts 1 to 3 in order, a cue card with its times in part 2 alone, questions and a closing mark everywhere."""
    plan = build_plan(name, choice)
    assert [part.part for part in plan.parts] == [1, 2, 3]
    for part in plan.parts:
        assert part.questions
        assert part.closing_mark in part.closing
        assert (part.cue_card is not None) is (part.part == 2)
        assert (part.prepare_s > 0) is (part.part == 2)
        assert (part.speak_s > 0) is (part.part == 2)


@pytest.mark.parametrize("choice", range(9))
def test_the_full_test_keeps_the_published_times(choice):
    """Four to five minutes a part, one minute to prepare, two to speak, under fifteen in all."""
    plan = build_plan("full", choice)
    assert all(240 <= part.time_limit_s <= 300 for part in plan.parts)
    assert (plan.part(2).prepare_s, plan.part(2).speak_s) == (60, 120)
    assert sum(part.time_limit_s for part in plan.parts) < 15 * 60


def test_nine_choices_give_nine_tests():
    """Each choice asks something else."""
    texts = {str(build_plan("full", choice)) for choice in range(9)}
    assert len(texts) == 9


def test_an_unknown_plan_is_named():
    """A wrong setting says what it was and what there is."""
    with pytest.raises(ValueError, match=r"'brief'.*full, demo and tiny"):
        build_plan("brief")


def test_shortened_in_proportion():
    """All times shrink by the factor; words stay."""
    plan = build_plan("full")
    short = shortened(plan, 0.1)
    for long_part, short_part in zip(plan.parts, short.parts, strict=True):
        assert short_part.time_limit_s == pytest.approx(long_part.time_limit_s / 10)
        assert short_part.prepare_s == pytest.approx(long_part.prepare_s / 10)
        assert short_part.questions == long_part.questions


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_prompt_holds_the_whole_part(part):
    """Opening, numbered questions, closing, and the card where there is one, each under its heading."""
    plan = build_plan("full").part(part)
    prompt = system_prompt(plan, "en-AU")
    assert f"Part: {part}\n" in prompt
    assert f"Opening:\n{plan.opening}\n" in prompt
    assert re.findall(r"^(\d+)\. ", prompt, re.MULTILINE) == [str(i + 1) for i in range(len(plan.questions))]
    assert f"Closing:\n{plan.closing}\n" in prompt
    assert ("Cue card:" in prompt) is (part == 2)
    assert "Australian English" in prompt


def test_an_unknown_language_is_spoken_as_british_english():
    """A tag that is not known is no error."""
    assert "British English" in system_prompt(build_plan("full").part(1), "tlh-XX")


@pytest.mark.parametrize("part", [1, 2, 3])
def test_only_the_closing_closes(part):
    """The mark is found however it is written, and in nothing else that Maya is to say."""
    plan = build_plan("full").part(part)
    assert says_closing(plan, plan.closing.upper().replace(" ", "  ").replace(".", " -"))
    for text in (plan.opening, *plan.questions, "Thank you.", *Direction):
        assert not says_closing(plan, text)


def test_directions_stand_in_brackets():
    """Nobody could say them."""
    assert all(direction.startswith("[") and direction.endswith("]") for direction in Direction)
