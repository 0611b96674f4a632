"""Watching boards over the websocket: views, deltas with their digests, and coming back."""

import zlib
from typing import Any

import pytest

from channels import room as room_module
from channels.room import VIEW_ROWS
from tests.app.sockets import JSON, MSGPACK, Client, Message, OpenStage, Stage
from tests.storage.shard import emptied

both = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


class Watcher:
    """One subscription, kept as the contract's page says and by nothing else."""

    def __init__(self, client: Client, first: Message, *, top: bool = True) -> None:
        self.client = client
        self.top = top
        self.sub = first["sub"]
        self.epoch, self.version, self.total = "", -1, -1
        self.entries: dict[str, Message] = {}
        self.take(first)

    def take(self, message: Message) -> None:
        """Applies a snapshot or a delta."""
        assert message["sub"] == self.sub
        if message["type"] == "snapshot":
            self.entries = {entry["item"]: entry for entry in message["entries"]}
            self.epoch = message["epoch"]
        else:
            assert message["type"] == "delta"
            assert message["prev"] == self.version
            for entry in message["entries"]:
                self.entries[entry["item"]] = self.entries.get(entry["item"], {}) | entry
            for item in message["left"]:
                del self.entries[item]
        self.version, self.total = message["version"], message["total"]
        ordered = sorted(self.entries.values(), key=lambda entry: (-entry["score"], entry["item"]))
        lines = "\n".join(f"{entry['item']}:{entry['score']}" for entry in ordered)
        assert message["digest"] == zlib.crc32(lines.encode())
        if self.top:
            for place, entry in enumerate(ordered, 1):
                tied = place > 1 and entry["score"] == ordered[place - 2]["score"]
                entry["rank"] = ordered[place - 2]["rank"] if tied else place
        self.entries = {entry["item"]: entry for entry in ordered}

    async def until(self, **scores: int) -> Message:
        """Reads deltas until these items have these scores; answers the last one."""
        while True:
            message = await self.client.next()
            self.take(message)
            if all(item in self.entries and self.entries[item]["score"] == score for item, score in scores.items()):
                return message

    def ranks(self) -> list[tuple[str, int]]:
        return [(item, entry["rank"]) for item, entry in self.entries.items()]


async def watch(client: Client, **fields: Any) -> Watcher:
    first = await client.ask("subscribe", **({"board": "songs"} | fields))
    assert first["type"] == "snapshot", first
    return Watcher(client, first, top="items" not in fields and "around" not in fields)


@both
async def test_a_top_view_follows_the_votes(stage: Stage, subprotocol: str) -> None:
    async with stage.viewer(subprotocol) as client, stage.agent(subprotocol=subprotocol) as agent:
        first = await client.ask("subscribe", id="view", board="songs")
        assert {name: first[name] for name in ("id", "board", "window", "total", "version")} == {
            "id": "view", "board": "songs", "window": "all", "total": 3, "version": first["version"],
        }  # fmt: skip
        assert first["entries"][0] == {
            "item": "s1", "rank": 1, "score": 0, "up_votes": 0, "down_votes": 0, "movement": None,
            "title": "Song s1", "artist": "Vela",
        }  # fmt: skip
        watcher = Watcher(client, first)
        await agent.vote("s3")
        delta = await watcher.until(s3=1)
        assert [entry["item"] for entry in delta["entries"]] == ["s3"]
        assert "title" not in delta["entries"][0]
        assert watcher.ranks() == [("s3", 1), ("s1", 2), ("s2", 2)]
        await agent.vote("s1", "down")
        await watcher.until(s1=-1)
        assert watcher.ranks() == [("s3", 1), ("s2", 2), ("s1", 3)]
        assert watcher.entries["s1"]["title"] == "Song s1"
        shown = await stage.ranking()
        assert (shown["epoch"], shown["version"]) == (watcher.epoch, watcher.version)


async def test_items_enter_and_leave_a_view(stage: Stage) -> None:
    async with stage.viewer() as client, stage.agent() as agent:
        watcher = await watch(client, top=1)
        assert list(watcher.entries) == ["s1"]
        await agent.vote("s2")
        delta = await watcher.until(s2=1)
        assert (delta["left"], delta["entries"][0]["title"]) == (["s1"], "Song s2")
        assert (list(watcher.entries), watcher.total) == (["s2"], 3)


async def test_a_board_that_grows_is_shown_to_grow(stage: Stage) -> None:
    async with stage.viewer() as client:
        watcher = await watch(client)
        about = {"artist": "Vela", "platform": "suno", "platform_url": "https://suno.example/song"}
        await stage.admin("/songs", {"id": "s0", "title": "New", **about})
        await watcher.until(s0=0)
        assert (watcher.entries["s0"]["title"], watcher.total) == ("New", 4)


async def test_items_and_around_views_carry_ranks_on_the_whole_board(stage: Stage) -> None:
    async with stage.viewer() as client, stage.viewer() as other, stage.agent() as agent:
        items = await watch(client, items=["s3", "s1", "s3"])
        around = await watch(other, around="s3", span=1)
        assert (items.ranks(), around.ranks()) == ([("s1", 1), ("s3", 1)], [("s2", 1), ("s3", 1)])
        await agent.vote("s2")
        message = await client.next()  # nothing in view has another score, and yet there is something new
        items.take(message)
        assert items.ranks() == [("s1", 2), ("s3", 2)]
        await agent.vote("s3")
        await items.until(s3=1)
        await around.until(s3=1)
        assert items.ranks() == [("s3", 1), ("s1", 3)]
        assert around.ranks() == [("s2", 1), ("s3", 1), ("s1", 3)]


async def test_every_window_may_be_watched(stage: Stage) -> None:
    async with stage.viewer() as client, stage.agent() as agent:
        windows = ("all", "day", "week", "month", "trending")
        watchers = {(watcher := await watch(client, window=window)).sub: watcher for window in windows}
        await agent.vote("s2")
        behind = set(watchers)
        while behind:
            message = await client.next()
            watchers[message["sub"]].take(message)
            if watchers[message["sub"]].entries["s2"]["score"] == 1:
                behind.discard(message["sub"])


async def test_a_subscription_that_makes_no_sense_is_refused(stage: Stage) -> None:
    await stage.board("short", windows=["all", "day"])
    async with stage.viewer() as client:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"board": "nowhere"}, "unknown_board"),
            ({"board": 7}, "invalid"),
            ({"window": "year"}, "invalid"),
            ({"board": "short", "window": "week"}, "invalid"),
            ({"top": 0}, "invalid"),
            ({"top": 1001}, "invalid"),
            ({"top": 5, "items": ["s1"]}, "invalid"),
            ({"items": []}, "invalid"),
            ({"items": [f"s{n}" for n in range(101)]}, "invalid"),
            ({"items": ["s1", "s9"]}, "unknown_item"),
            ({"around": "s9"}, "unknown_item"),
            ({"around": "s1", "span": -1}, "invalid"),
            ({"version": -1}, "invalid"),
        ]
        for fields, code in wrong:
            error = await client.ask("subscribe", **({"board": "songs"} | fields))
            assert (error["type"], error["code"]) == ("error", code), fields
        assert stage.services.hub.rooms == 0
        assert (await client.ask("subscribe", board="songs", top=1000))["sub"] > 0


async def test_a_hundred_views_and_no_more(stage: Stage) -> None:
    async with stage.viewer() as client:
        await client.send([{"type": "subscribe", "id": n, "board": "songs", "top": n} for n in range(1, 102)])
        answers = [await client.next() for _ in range(101)]
        assert [answer["sub"] for answer in answers[:100]] == list(range(1, 101))
        assert answers[100]["code"] == "invalid"
        assert (await client.ask("unsubscribe", sub=1))["type"] == "ack"
        assert (await client.ask("subscribe", board="songs"))["type"] == "snapshot"


async def test_whoever_unsubscribed_hears_no_more(stage: Stage) -> None:
    async with stage.viewer() as client, stage.agent() as agent:
        first, second = await watch(client), await watch(client, top=10)
        ack = await client.ask("unsubscribe", sub=first.sub)
        assert ack == {
            "type": "ack", "id": ack["id"], "status": "unchanged", "seq": None, "score": None, "up_votes": None,
            "down_votes": None, "quota_remaining": None,
        }  # fmt: skip
        assert (await client.ask("unsubscribe", sub=first.sub))["code"] == "invalid"
        assert (await client.ask("unsubscribe", sub="x"))["code"] == "invalid"
        for score, name in enumerate(("a", "b"), 1):
            async with stage.agent(await stage.key(name)) as voter:
                await voter.vote("s2")
            await second.until(s2=score)  # which would fail on a delta for the first
        await agent.vote("s3")


async def test_whoever_left_is_forgotten(stage: Stage) -> None:
    async with stage.viewer() as client:
        await watch(client)
        assert stage.services.hub.rooms == 1
    await stage.until(lambda: stage.services.hub.rooms == 0)


async def test_a_vote_that_was_acknowledged_is_in_the_snapshot(stage: Stage) -> None:
    async with stage.viewer() as client, stage.agent() as agent:
        standing = await watch(client, top=2)
        for item in ("s3", "s2", "s1"):
            await agent.vote(item)
            joined = await agent.ask("subscribe", board="songs", top=2)
            assert item in {entry["item"] for entry in joined["entries"] if entry["score"] == 1}
        await standing.until(s1=1, s2=1)


@both
async def test_who_comes_back_soon_resumes(stage: Stage, subprotocol: str) -> None:
    async with stage.viewer(subprotocol) as other, stage.agent() as agent:
        steady = await watch(other)
        async with stage.viewer(subprotocol) as client:
            watcher = await watch(client)
        await agent.vote("s2")
        await steady.until(s2=1)
        await agent.vote("s3", "down")
        await steady.until(s3=-1)
        async with stage.viewer(subprotocol) as client:
            position = {"epoch": watcher.epoch, "version": watcher.version}
            resumed = await client.ask("subscribe", id="again", board="songs", **position)
            assert resumed == {"type": "resumed", "id": "again", "sub": resumed["sub"], **position}
            watcher.client, watcher.sub = client, resumed["sub"]
            watcher.take(await client.next())
            assert (watcher.version, watcher.entries) == (steady.version, steady.entries)
            # Who missed nothing is told nothing.
            position["version"] = watcher.version
            assert (await client.ask("subscribe", board="songs", **position))["type"] == "resumed"
            assert (await client.ask("ping"))["type"] == "pong"


async def test_who_comes_back_too_late_or_from_another_epoch_gets_a_snapshot(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "MEMORY", 1)
    async with open_stage(tick_rate=100) as stage, stage.viewer() as client, stage.agent() as agent:
        watcher = await watch(client)
        epoch, version = watcher.epoch, watcher.version
        for item in ("s1", "s2"):
            await agent.vote(item)
            await watcher.until(**{item: 1})
        for position in ({"epoch": epoch, "version": version}, {"epoch": "other", "version": watcher.version}):
            fresh = await client.ask("subscribe", board="songs", **position)
            assert (fresh["type"], fresh["version"]) == ("snapshot", watcher.version)


async def test_a_live_state_that_was_rebuilt_is_a_snapshot_for_everyone(stage: Stage) -> None:
    async with stage.viewer() as client, stage.agent() as agent:
        watcher = await watch(client)
        await agent.vote("s2")
        await watcher.until(s2=1)
        shard = stage.where.tenant.shard
        await stage.services.caught_up(shard)
        await emptied(stage.services.live, shard)
        # The vote finds the store empty; it is rebuilt, and the vote is counted in what was rebuilt.
        assert (await agent.vote("s3"))["status"] == "applied"
        first = await client.next()
        assert (first["type"], first["id"], first["epoch"] != watcher.epoch) == ("snapshot", None, True)
        watcher.take(first)
        if watcher.entries["s3"]["score"] != 1:
            await watcher.until(s3=1)
        assert watcher.entries["s2"]["score"] == 1


async def test_what_a_connection_watches_counts_with_what_each_view_costs_by_itself(stage: Stage) -> None:
    async with stage.viewer() as viewer:
        (connection,) = stage.services.gateway._connections
        costs = []
        first = await viewer.ask("subscribe", board="songs", top=1)
        costs.append(connection.watched)
        await viewer.ask("subscribe", board="songs", around="s1", span=0)
        costs.append(connection.watched)
        await viewer.ask("unsubscribe", sub=first["sub"])
        costs.append(connection.watched)
    assert costs == [VIEW_ROWS + 1, 2 * (VIEW_ROWS + 1), VIEW_ROWS + 1]
