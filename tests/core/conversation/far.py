"""A conversation whose phone is far away: it answers pings late, and its line may be lost."""

from typing import Any

from tests.core.conversation.scene import SESSION, Scene

SLOW_MS = 2_600.0


class Far(Scene):
    """A conversation whose phone answers pings `round_trip_ms` later.

    Attributes:
        round_trip_ms: see above; None for a phone that answers none.
        connection: by which the phone talks.
        acknowledges: whether it tells what has arrived.
        choked: whether the way up carries only four frames in the time of five.
    """

    def __init__(self, round_trip_ms: float | None = 60.0, **changes: Any) -> None:
        super().__init__(**{"nudge_s": 1e6, **changes})  # on this stage nobody answers a nudge
        self.round_trip_ms = round_trip_ms
        self.connection = ("a", 1)
        self.acknowledges = True
        self.choked = False
        self._looked_at = 0
        self._pongs: list[tuple[float, int]] = []

    def talk_for(self, seconds: float) -> "Far":
        """The phone sends frames, acknowledges, answers pings."""
        for step in range(round(seconds * 10)):
            self._let_pass(self.now_ms + 100)
            if not self.choked or step % 5:
                self.audio(*self.connection)
            if self.acknowledges:
                self.acknowledge_all(*self.connection)
            for at_ms, _, message in self.posts[self._looked_at :]:
                if message["type"] == "ping" and self.round_trip_ms is not None:
                    self._pongs.append((at_ms + self.round_trip_ms, message["id"]))
            self._looked_at = len(self.posts)
            for due in [each for each in self._pongs if each[0] <= self.now_ms]:
                self._pongs.remove(due)
                self.say({"type": "pong", "id": due[1], "at": 0}, *self.connection)
        return self

    def asked(self, **start: Any) -> dict[str, Any]:
        """Begin near, get slow, be asked."""
        self.begin(**start)
        self.talk_for(0.3)
        self.maya()
        self.talk_for(4)
        self.round_trip_ms = SLOW_MS
        self.talk_for(20)
        [prompt] = self.told("lag_prompt")
        return prompt

    def choose(self, choice: str, prompt_id: str) -> None:
        """The learner answers."""
        self.say({"type": "lag_choice", "prompt_id": prompt_id, "choice": choice}, *self.connection)

    def drop(self) -> None:
        """The radio dies."""
        self.leave(self.connection[0])
        self._looked_at = len(self.posts)
        self._pongs.clear()

    def come_back(self, n: int) -> None:
        """By a new connection, having received everything up to `n`."""
        self.connection = (self.connection[0] + "x", self.connection[1] + 1)
        self.say({"type": "resume", "session_id": SESSION, "n": n, "seq": self._seq}, *self.connection)
