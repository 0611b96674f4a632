"""An agent that says one thing several times at once."""

from __future__ import annotations

from itertools import count

import gevent
from locust import task

from channels.protocol import Ack, Error, ServerMessage
from loadtests.attack import Attacker, answer_to, greeted
from loadtests.ballots import Ballot, Book
from loadtests.calls import Caller
from loadtests.checks import CheckFailed
from loadtests.connection import Connection


class TwinVoter(Attacker, Caller):
    """Casts a vote several times at the same moment, over two websockets and HTTP: one of them counts."""

    def wait_time(self) -> float:
        """The time between two attacks."""
        return 0.5

    def on_start(self) -> None:
        """Begins as an agent that has not voted yet."""
        self._pair: list[Connection] = []
        self._ids = count(1)
        self._become_new()

    def on_stop(self) -> None:
        """Closes both websockets."""
        self._part()

    def _become_new(self) -> None:
        self._part()
        self.agent = self.stage.agent()
        self._book = Book([self.stage.playground()], self.stage.random)
        self._counted = 0

    def _part(self) -> None:
        for connection in self._pair:
            connection.close()
        self._pair = []

    @task(3)
    def same_vote(self) -> None:
        """One ballot three times: it is applied once, and else unchanged."""
        self.attack("same vote at once", lambda: self._at_once(same=True))

    @task(1)
    def opposite_votes(self) -> None:
        """Two ballots for one item: one is applied, the other comes too late."""
        self.attack("opposite votes at once", lambda: self._at_once(same=False))

    @task(1)
    def recount(self) -> None:
        """As many ballots stand as were applied."""
        with self.calling("GET", "/api/v1/me/votes?limit=1") as call:
            total = call.json(200)["total"]
            if total != self._counted:
                raise CheckFailed("more or fewer ballots than were applied", f"{total}, not {self._counted}")

    def _at_once(self, *, same: bool) -> None:
        ballot = self._book.fresh()
        if ballot is None:
            self._become_new()
            ballot = self._book.fresh()
        assert ballot is not None
        other = ballot if same else ballot.board.other(ballot)
        if other is None or (not same and ballot.board.ballots_change):
            return
        try:
            self._check(same=same, outcomes=self._cast(ballot, other, http=same))
        except (OSError, CheckFailed):
            # What was counted by then is not known: the next attack is another agent's.
            self._become_new()
            raise

    def _cast(self, ballot: Ballot, other: Ballot, *, http: bool) -> list[str]:
        """What became of the votes, which nothing kept apart."""
        if not self._pair:
            codec = self.stage.codec()
            self._pair = [greeted(self.stage.options.host, codec, self.agent.key) for _ in range(2)]
        third = gevent.spawn(self._post, ballot) if http else None
        message_id = next(self._ids)
        for connection, vote in zip(self._pair, (ballot, other), strict=True):
            connection.send([vote.message(message_id)])
        outcomes = [_outcome(answer_to(message_id, connection)) for connection in self._pair]
        if third is not None:
            outcome = third.get()
            if outcome is None:
                raise CheckFailed("a vote over HTTP without an outcome")
            outcomes.append(outcome)
        return outcomes

    def _post(self, ballot: Ballot) -> str | None:
        """The status, None where the call failed, which is reported by then."""
        with self.calling("POST", "/api/v1/vote", "/api/v1/vote, at once", json=ballot.body()) as call:
            status: str = call.json(call.status).get("status", "")
            call.json(201 if status == "applied" else 200)
            return status
        return None

    def _check(self, *, same: bool, outcomes: list[str]) -> None:
        self._counted += outcomes.count("applied")
        if sorted(outcomes) != (["applied", "unchanged", "unchanged"] if same else ["already_voted", "applied"]):
            raise CheckFailed("votes at once that did not count once", str(outcomes))


def _outcome(answer: ServerMessage) -> str:
    if isinstance(answer, Ack):
        return answer.status
    return answer.code if isinstance(answer, Error) else str(answer)
