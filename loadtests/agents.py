"""Agents that vote as they should, over a websocket and over HTTP, and check every outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gevent.lock import Semaphore
from locust import FastHttpUser, task

from channels.protocol import Ack, CastVote, Error, Retract
from channels.ranking import points_of, rank_rows
from loadtests.ballots import Ballot, Book
from loadtests.calls import BOARD, STANDING, Caller
from loadtests.checks import PATIENCE, CheckFailed, Pending
from loadtests.conversation import WS
from loadtests.users import Connected, Pace, top_of
from storage.types import Row


class WebsocketAgent(Connected):
    """Votes over a websocket, several votes in flight, and watches the board that it votes on most."""

    weight = 8
    needs_key = True

    def on_start(self) -> None:
        """Begins as an agent that has not voted yet."""
        self._pace = Pace(self.stage.options.vote_rate)
        self._become_new()

    def _become_new(self) -> None:
        stage = self.stage
        boards = stage.boards()
        self._by_slug = {board.slug: board for board in [stage.playground(), *boards]}
        self._book = Book(boards, stage.random)
        self._room = Semaphore(stage.options.in_flight)
        self._untouched = list(stage.playground().items) if stage.playground().own else []
        self._passing: list[Ballot] = []
        self.connect([top_of(boards[0], stage.options.top)], stage.agent().key)

    def wait_time(self) -> float:
        """The time between two votes."""
        return self._pace.wait()

    @task(17)
    def vote(self) -> None:
        """Casts a ballot on another item."""
        ballot = self._book.fresh()
        if ballot is None:
            # It has voted on everything there is: another agent takes its place.
            self.disconnect()
            self._become_new()
        else:
            self._cast(ballot, ["applied"])

    @task(1)
    def vote_again(self) -> None:
        """Casts a ballot that stands already."""
        if ballot := self._book.standing():
            self._cast(ballot, ["unchanged"])

    @task(1)
    def vote_otherwise(self) -> None:
        """Casts another ballot than the final one that stands."""
        ballot = self._book.standing()
        other = ballot and not ballot.board.ballots_change and ballot.board.other(ballot)
        if other:
            self._cast(other, [], ["already_voted"])

    @task(1)
    def take_back(self) -> None:
        """Casts a ballot on the playground, and takes it back the next time."""
        if self._passing:
            self._take_room()
            self.session.retract(self._passing.pop())
        elif self._untouched:
            playground = self.stage.playground()
            self._cast(playground.ballot(self._untouched.pop(), self.stage.random), ["applied"])

    def _cast(self, ballot: Ballot, statuses: list[str], codes: tuple[str, ...] | list[str] = ()) -> None:
        self._take_room()
        self.session.vote(ballot, statuses, codes)

    def _take_room(self) -> None:
        # An answer that is missing is reported by then; the agent goes on without it.
        self._room.acquire(timeout=PATIENCE)

    def answered(self, pending: Pending, answer: Ack | Error, now: float) -> None:
        """Writes into the book what stands."""
        self._room.release()
        message = pending.message
        if not isinstance(answer, Ack) or not isinstance(message, CastVote | Retract):
            return
        board = self._by_slug[message.board]
        if isinstance(message, Retract):
            self._untouched.append(message.item)
        elif answer.status in pending.statuses and "applied" in pending.statuses:
            ballot = Ballot(board, message.item, message.vote, message.value)
            if board.own and board.slug == self.stage.playground().slug:
                self._passing.append(ballot)
            else:
                self._stands(ballot, answer, pending.sent, now)

    def _stands(self, ballot: Ballot, ack: Ack, sent: float, now: float) -> None:
        up, down = ack.up_votes or 0, ack.down_votes or 0
        if ballot.board.plain and ack.score != up - down:
            self.report.failed(WS, "vote ack", CheckFailed("a score that is not the sum of its ballots", str(ack)))
        self._book.note(ballot)
        if ack.status == "applied":
            self.stage.beacon.voted(ballot.board.slug, ballot.item, up + down, sent)
        if ballot.board.own:
            self.session.conversation.expect_shown(ballot.board.slug, ballot.item, up + down, now)


class HttpAgent(Caller, FastHttpUser):
    """Votes over HTTP, one by one and many at once, and reads what became of it."""

    weight = 4

    def on_start(self) -> None:
        """Begins as an agent that has not voted yet."""
        self._pace = Pace(self.stage.options.vote_rate)
        self._become_new()

    def _become_new(self) -> None:
        self.agent = self.stage.agent()
        self._book = Book(self.stage.boards(), self.stage.random)
        self._told: dict[str, tuple[str, int]] = {}
        self._etags: dict[str, str] = {}
        self._seq = 0
        self._ballots: dict[tuple[str, str], int] = {}

    def wait_time(self) -> float:
        """The time between two requests."""
        return self._pace.wait()

    @task(12)
    def vote(self) -> None:
        """Casts one ballot."""
        ballot = self._book.fresh()
        if ballot is None:
            self._become_new()
            return
        sent = time.perf_counter()
        with self.calling("POST", "/api/v1/vote", json=ballot.body()) as call:
            self._applied(call.json(201), ballot, sent)

    @task(1)
    def vote_again(self) -> None:
        """Casts a ballot that stands already."""
        if ballot := self._book.standing():
            with self.calling("POST", "/api/v1/vote", "/api/v1/vote, again", json=ballot.body()) as call:
                self._unchanged(call.json(200))

    @task(1)
    def vote_otherwise(self) -> None:
        """Casts another ballot than the final one that stands."""
        ballot = self._book.standing()
        other = ballot and not ballot.board.ballots_change and ballot.board.other(ballot)
        if other:
            with self.calling("POST", "/api/v1/vote", "/api/v1/vote, otherwise", json=other.body()) as call:
                call.problem(409, "already_voted")

    @task(2)
    def vote_on_many(self) -> None:
        """Casts many ballots in one request, and the first of them twice."""
        ballots = [ballot for _ in range(self.stage.options.batch) if (ballot := self._book.fresh())]
        if not ballots:
            self._become_new()
            return
        votes = [ballot.body() for ballot in [*ballots, ballots[0]]]
        sent = time.perf_counter()
        with self.calling("POST", "/api/v1/votes", json={"votes": votes}) as call:
            results = call.json(200)["results"]
            if len(results) != len(votes):
                raise CheckFailed("more or fewer results than votes", f"{len(results)} for {len(votes)}")
            for ballot, result in zip(ballots, results, strict=False):
                self._applied(result, ballot, sent)
            self._unchanged(results[-1])

    @task(3)
    def read_ranking(self) -> None:
        """Reads a board, with the ETag of the last time."""
        board = self.stage.random.choice(self.stage.boards()).slug
        headers = {"If-None-Match": self._etags[board]} if board in self._etags else {}
        with self.calling(
            "GET", f"/api/v1/boards/{board}?limit={self.stage.options.top}", BOARD, headers=headers
        ) as call:
            if call.status == 304:
                return
            ranking = call.json(200)
            self._etags[board] = call.header("etag")
            self._check_ranking(board, ranking)

    @task(1)
    def read_standing(self) -> None:
        """Reads where an item stands that this agent voted on."""
        ballot = self._book.standing()
        if ballot is None:
            return
        board, item = ballot.board.slug, ballot.item
        with self.calling("GET", f"/api/v1/boards/{board}/items/{item}", STANDING) as call:
            entry = call.json(200)["item"]
            if ballot.board.own and entry["up_votes"] + entry["down_votes"] < self._ballots[board, item]:
                raise CheckFailed("an acknowledged vote that a later read does not show", str(entry))

    @task(1)
    def read_me(self) -> None:
        """Asks the server who this is."""
        with self.calling("GET", "/api/v1/me") as call:
            if call.json(200)["agent_id"] != self.agent.agent_id:
                raise CheckFailed("taken for another agent")

    def _applied(self, result: Mapping[str, Any], ballot: Ballot, sent: float) -> None:
        board = ballot.board.slug
        if result["status"] != "applied":
            raise CheckFailed(f"a first vote that ended as {result.get('code', result['status'])}", str(result))
        if (result["board"], result["item_id"]) != (board, ballot.item):
            raise CheckFailed("a result of another vote", str(result))
        if result["seq"] is None or result["seq"] <= self._seq:
            raise CheckFailed("a seq that did not rise", f"{self._seq}, then {result}")
        self._seq = result["seq"]
        up, down = result["up_votes"], result["down_votes"]
        if ballot.board.plain and result["score"] != up - down:
            raise CheckFailed("a score that is not the sum of its ballots", str(result))
        self._book.note(ballot)
        self._ballots[board, ballot.item] = up + down
        self.stage.beacon.voted(board, ballot.item, up + down, sent)

    def _unchanged(self, result: Mapping[str, Any]) -> None:
        if result["status"] != "unchanged" or result["seq"] is not None:
            raise CheckFailed(f"the same vote again ended as {result.get('code', result['status'])}", str(result))

    def _check_ranking(self, board: str, ranking: Mapping[str, Any]) -> None:
        rows = [
            Row(e["item_id"], e["rank"], points_of(e["score"]), e["up_votes"], e["down_votes"], None)
            for e in ranking["entries"]
        ]
        if rows != rank_rows(rows):
            raise CheckFailed("a ranking out of order, or with wrong ranks", f"{board} {ranking['version']}")
        epoch, version = self._told.get(board, ("", 0))
        if ranking["epoch"] == epoch and ranking["version"] < version:
            raise CheckFailed("a version went back", f"{version}, then {ranking['version']}")
        self._told[board] = ranking["epoch"], ranking["version"]
