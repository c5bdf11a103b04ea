"""`make lag`: a table of what the monitor decides on lines whose lag is known; exit status 1 where it is not as it should be."""

import sys

from rich.console import Console
from rich.table import Table

from gateway.core.lag import Ask, LagSettings
from tests.lag.course import Course, play
from tests.lag.traces import TRACES, near

_NEAR_MINUTES = 100
_MINUTES_EACH = 10
_SEEDS = (1, 2, 3, 4, 5)


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.1f} s"


def _row(courses: list[Course]) -> tuple[list[str], bool]:
    """Describe a trace by its first course, and its worst times over all seeds."""
    first = courses[0]
    expected = first.trace.expected
    faults = [fault for course in courses for fault in course.faults]
    wanted = (
        f"{expected.prompts} x {expected.cause}, within {expected.within_s:g} s" if expected.prompts else "no prompt"
    )
    if expected.gone_within_s is not None:
        wanted += f"; gone within {expected.gone_within_s:g} s"
    causes = [ask.felt.cause for _, ask in first.of(Ask)]
    decided = f"{len(causes)} x {causes[0]}" if causes else "no prompt"
    after_s = max((course.asked_after_s for course in courses if course.asked_after_s is not None), default=None)
    gone_s = max((course.gone_after_s for course in courses if course.gone_after_s is not None), default=None)
    lags_ms = sorted(lag_ms for course in courses for _, lag_ms in course.lag)
    median, worst = lags_ms[len(lags_ms) // 2], lags_ms[-1]
    verdict = "as expected" if not faults else "; ".join(dict.fromkeys(faults))
    cells = [first.trace.name, first.trace.says, wanted, decided, _seconds(after_s), _seconds(gone_s)]
    return [*cells, f"{median:.0f} / {worst:.0f} ms", verdict], not faults


def main() -> int:
    """Print the table."""
    settings = LagSettings()
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(
        f"The learner is asked when the felt lag stays at or over {settings.ask_over_ms:g} ms for "
        f"{settings.sustain_ms / 1000:g} s. Each trace with {len(_SEEDS)} seeds; times are the worst of them."
    )
    table = Table(header_style="bold")
    for title in (
        "trace",
        "what happens",
        "expected",
        "decided",
        "time to it",
        "gone after",
        "felt: middle / most",
        "",
    ):
        table.add_column(title, overflow="fold")
    good = True
    for trace in TRACES:
        cells, is_good = _row([play(trace, seed) for seed in _SEEDS])
        good &= is_good
        table.add_row(*cells, style=None if is_good else "red")
    console.print(table)
    each = range(_NEAR_MINUTES // _MINUTES_EACH)
    prompts = sum(len(play(near(_MINUTES_EACH * 60), seed=100 + seed).of(Ask)) for seed in each)
    good &= prompts == 0
    console.print(f"Near, {_NEAR_MINUTES} simulated minutes: {prompts} prompts.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
