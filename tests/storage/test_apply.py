"""The live store against the model: outcomes, every view of every window, and the log, on both servers."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.batches import outcomes_of
from storage.calendar import periods_at
from storage.hold import Hold
from storage.types import (
    FULL_WEIGHT,
    WINDOWS,
    AroundView,
    Board,
    ItemsView,
    Known,
    Outcome,
    Query,
    Ranking,
    Status,
    TopView,
    ViewSpec,
    Vote,
    Window,
)
from tests.storage.model import Model, Standing, around, chosen, ranked
from tests.storage.shard import DAY, EPOCH, HOUR, MINUTE, NOON, Shard, board, board_items, open_shard

SHARD = 3
ITEMS = {"a": 11, "B": 12, "é": 13, "z%_*": 14, "😀": 15, "\ue000": 16, "a:b": 17}
AGENTS = {1: 3, 2: 100, 3: None, 70_000: 0, 5: None}
"""Agents and their votes a day."""

MIDNIGHT = NOON + 12 * HOUR
MONTH_END = NOON + 14 * DAY + 12 * HOUR - 1
STEPS = [0, 1, 999, MINUTE, 20 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 40 * DAY, -MINUTE, -HOUR, -2 * DAY]
COMMENTS = [None, None, "", "ok", "żółć 😀 \n\t\"'\\ $1 {x} %s", "x" * 300]

BOARDS = [
    board(1, SHARD),
    board(2, SHARD, ballot="points", minimum=-5, maximum=12, ballots_change=True),
    board(3, SHARD, ballot="stars", minimum=1, maximum=5, ballots_change=True, windows=("all", "trending")),
    board(4, SHARD, ballot="like", minimum=1, maximum=1, windows=("all", "day"), closes_at=NOON + 2 * DAY),
    board(5, SHARD, opens_at=NOON + HOUR, closes_at=NOON + 30 * DAY, ballots_change=True),
]
"""The last is not in the store."""

values = {"updown": [-1, 1], "points": list(range(-5, 13)), "stars": [1, 2, 3, 4, 5], "like": [1]}


@st.composite
def votes(draw: st.DrawFn) -> Vote:
    rules = draw(st.sampled_from(BOARDS))
    agent = draw(st.sampled_from(sorted(AGENTS)))
    weight = draw(st.sampled_from([FULL_WEIGHT, FULL_WEIGHT, 50, 150, 0]))
    value = draw(st.sampled_from([*values[rules.ballot], None]))
    item = draw(st.sampled_from([*sorted(ITEMS), "unknown"]))
    comment = draw(st.sampled_from(COMMENTS))
    return Vote(rules, agent, item, value, AGENTS[agent], weight, comment, draw(st.booleans()))


steps = st.tuples(
    st.sampled_from(STEPS), st.lists(votes(), max_size=12), st.sampled_from([None, None, 0, MINUTE, HOUR, DAY])
)
"""How far the clock moves, a batch, and how far ahead of it a timekeeper's clock rolls the windows before it."""


async def read(shard: Shard, queries: list[Query]) -> list[Ranking]:
    rankings = await shard.live.read(SHARD, queries)
    return [ranking for ranking in rankings if ranking is not None]


def standings(ranking: Ranking) -> list[Standing]:
    return [Standing(row.item, row.rank, row.points, row.up, row.down) for row in ranking.rows]


async def whole(shard: Shard, model: Model, rules: Board, window: Window) -> list[Standing]:
    """A whole ranking, which the model bears out."""
    (ranking,) = await read(shard, [Query(rules.number, window, TopView(9))])
    shown, expected = standings(ranking), model.ranking(rules, window)
    if window == "trending":
        # Sums of doubles depend on their order, which can be seen where they are halfway between two hundredths.
        wanted = {standing.item: standing.points for standing in expected}
        assert all(abs(standing.points - wanted[standing.item]) <= 1 for standing in shown)
        expected = ranked({row.item: (row.points, *model.counts(rules.number, row.item)) for row in shown})
    assert shown == expected, window
    return expected


async def check_views(shard: Shard, model: Model, rules: Board, window: Window) -> None:
    """Every kind of view, at several places, of one window."""
    expected = await whole(shard, model, rules, window)
    views: dict[ViewSpec, list[Standing]] = {}
    views |= {TopView(n, offset): expected[offset : offset + n] for n in (1, 3) for offset in range(8)}
    views |= {AroundView(item, span): around(expected, item, span) for item in ITEMS for span in (1, 4)}
    for items in (("a", "unknown", "😀"), ("\ue000",), tuple(ITEMS)):
        views[ItemsView(items)] = chosen(expected, items)
    views[AroundView("unknown", 2)] = []
    rankings = await read(shard, [Query(rules.number, window, view) for view in views])
    for (view, wanted), ranking in zip(views.items(), rankings, strict=True):
        assert standings(ranking) == wanted, (window, view)
        assert (ranking.epoch, ranking.seq, ranking.total) == (EPOCH, len(model.events), len(ITEMS))


async def check_log(shard: Shard, model: Model) -> None:
    events = await shard.events()
    assert [tuple(event) for event in events] == [
        (SHARD, event.seq, event.at, event.board, ITEMS[event.item], *astuple(event)[4:]) for event in model.events
    ]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def check_ballots(shard: Shard, model: Model) -> None:
    for rules in BOARDS[:-1]:
        held: list[dict[int, tuple[int, int]]] = [{} for _ in AGENTS]
        for (agent, item), ballot in model.boards[rules.number].ballots.items():
            held[list(AGENTS).index(agent)][ITEMS[item]] = ballot
        assert await shard.live.ballots(SHARD, rules.number, list(AGENTS)) == held


async def furnish(shard: Shard, model: Model, now: int) -> None:
    for rules in BOARDS[:-1]:
        assert await shard.live.add_items(rules, board_items(ITEMS), now) == len(ITEMS)
        model.add_items(rules, ITEMS, now)


@pytest.mark.parametrize("start", [NOON, MIDNIGHT - 1, MONTH_END])
@given(script=st.lists(steps, min_size=1, max_size=6), backlog=st.sampled_from([10**9, 10**9, 7]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_store_does_what_the_model_does(
    any_redis_url: str, start: int, script: list[tuple[int, list[Vote], int | None]], backlog: int
) -> None:
    model = Model(backlog)
    now = start
    async with open_shard(any_redis_url, backlog, SHARD) as shard:
        await furnish(shard, model, now)
        for step, batch, ahead in script:
            now += step
            if ahead is not None:
                await roll(shard, model, now + ahead)
            assert await shard.apply(batch, now) == model.apply(batch, now)
        for rules in BOARDS[:-1]:
            for window in WINDOWS:
                await check_views(shard, model, rules, window)
        assert await shard.live.read(SHARD, [Query(BOARDS[-1].number, "all", TopView(3))]) == [None]
        await check_log(shard, model)
        await check_ballots(shard, model)


async def roll(shard: Shard, model: Model, now: int) -> None:
    model.roll(now)
    await shard.live.roll(SHARD, now, periods_at(now), dict.fromkeys(model.boards, 0))


async def test_a_batch_that_comes_again_is_answered_again_and_changes_nothing(any_redis_url: str) -> None:
    rules, batch = BOARDS[1], [Vote(BOARDS[1], 2, "a", 5, 100, ranked=True), Vote(BOARDS[1], 2, "B", 3, 100)]
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        first = await shard.send(batch, NOON)
        assert [outcome.status for outcome in outcomes_of(first)] == [Status.APPLIED] * 2
        before = await read(shard, [Query(rules.number, "all", TopView(9))])
        assert await shard.send(batch, NOON + HOUR, number=1) == first
        assert await read(shard, [Query(rules.number, "all", TopView(9))]) == before
        assert len(await shard.events()) == 2
        assert await shard.live.quota_used(SHARD, NOON // DAY, 2) == 2


@pytest.mark.parametrize("rules", [BOARDS[0], BOARDS[1]], ids=["final", "changeable"])
async def test_a_vote_that_is_sent_again_after_the_deadline_is_told_that_it_stands(
    any_redis_url: str, rules: Board
) -> None:
    closing = replace(rules, closes_at=NOON + HOUR)
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        assert [one.status for one in await shard.apply([Vote(closing, 2, "a", 1)], NOON)] == [Status.APPLIED]
        late = [Vote(closing, 2, "a", value) for value in (1, -1, None)]
        late += [Vote(closing, 2, item, 1) for item in ("B", "unknown")] + [Vote(closing, 2, "B", None)]
        told = [one.status for one in await shard.apply(late, NOON + HOUR)]
        assert told == [Status.UNCHANGED] + [Status.VOTING_CLOSED] * 5


async def test_a_copy_that_comes_after_the_next_batch_is_passed_over(any_redis_url: str) -> None:
    """It was stuck on a connection that its sender gave up; on a board whose ballots change it would undo a vote."""
    rules = BOARDS[1]
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        await shard.send([Vote(rules, 2, "a", 5)], NOON)
        await shard.send([Vote(rules, 2, "a", 12)], NOON)
        assert (await shard.send([Vote(rules, 2, "a", 5)], NOON, number=1)).reason == "late"
        (ranking,) = await read(shard, [Query(rules.number, "all", TopView(1))])
        assert standings(ranking) == [Standing("a", 1, 1200, 1, 0)]
        assert len(await shard.events()) == 2


@pytest.mark.parametrize(("known", "reason"), [(Known("other", 0), "epoch"), (Known(EPOCH, 1), "behind")])
async def test_a_store_that_is_not_the_known_one_applies_nothing(any_redis_url: str, known: Known, reason: str) -> None:
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        before = await read(shard, [Query(1, "all", TopView(9))])
        shard.known = known
        reply = await shard.send([Vote(BOARDS[0], 1, "a", 1)], NOON)
        assert (reply.reason, reply.results, reply.changed) == (reason, [], [])
        assert await read(shard, [Query(1, "all", TopView(9))]) == before
        assert await shard.events() == []


async def test_a_store_that_is_being_filled_applies_nothing(any_redis_url: str) -> None:
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        hold = await Hold.take(shard.live, SHARD, EPOCH)
        assert (await shard.send([Vote(BOARDS[0], 1, "a", 1)], NOON)).reason == "epoch"
        await hold.open()
        assert (await shard.send([Vote(BOARDS[0], 1, "a", 1)], NOON)).reason == "ok"


async def test_a_full_backlog_refuses_until_the_archive_has_caught_up(any_redis_url: str) -> None:
    rules = BOARDS[1]
    async with open_shard(any_redis_url, 2, SHARD) as shard:
        await furnish(shard, Model(), NOON)
        many = [Vote(rules, 2, item, 1, 100) for item in ("a", "B", "é")]
        statuses = [outcome.status for outcome in await shard.apply(many, NOON)]
        assert statuses == [Status.APPLIED, Status.APPLIED, Status.OVERLOADED]
        # What changes nothing needs no room, and what is refused uses no quota.
        again = await shard.apply([many[0], Vote(rules, 2, "a", None, 100)], NOON)
        assert [outcome.status for outcome in again] == [Status.UNCHANGED, Status.OVERLOADED]
        assert await shard.live.quota_used(SHARD, NOON // DAY, 2) == 2
        assert await shard.live.trim(SHARD, 2) == 1
        assert (await shard.apply(many[2:], NOON))[0] == Outcome(Status.APPLIED, 3, 100, 1, 0, 97)


async def test_a_thousand_votes_in_one_batch(any_redis_url: str) -> None:
    rules = BOARDS[0]
    items = {f"item-{n:04d}": n for n in range(1000)}
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await shard.live.add_items(rules, board_items(items), NOON)
        # Once every item and agent another one; then one agent on every item; then everybody on one item.
        batches = [
            [Vote(rules, n, f"item-{n:04d}", 1, 100, comment="x" * 2000, ranked=True) for n in range(1000)],
            [Vote(rules, 2000, item, -1, None, 50) for item in items],
            [Vote(rules, 3000 + n, "item-0007", 1) for n in range(1000)],
        ]
        for batch in batches:
            outcomes = await shard.apply(batch, NOON)
            assert {outcome.status for outcome in outcomes} == {Status.APPLIED}
        assert [event.seq for event in await shard.events()] == list(range(1, 3001))
        (ranking,) = await read(shard, [Query(rules.number, "day", TopView(1000))])
        assert standings(ranking)[:2] == [
            Standing("item-0007", 1, 100_050, 1001, 1),
            Standing("item-0000", 2, 50, 1, 1),
        ]


async def test_a_vote_on_a_board_where_nothing_trended_for_long_weighs_just_one(any_redis_url: str) -> None:
    rules, emptied = BOARDS[:2]
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        for age in (10 * HOUR, 400 * DAY, 800 * DAY, 1700 * DAY):
            for board_of in (rules, emptied):
                await shard.apply([Vote(board_of, age, "a", 1)], NOON + age)
                (ranking,) = await read(shard, [Query(board_of.number, "trending", TopView(1))])
                assert standings(ranking)[0].points == 100
            await shard.apply([Vote(emptied, age, "a", None)], NOON + age)


@pytest.mark.parametrize("value", [-1, 1])
async def test_what_has_faded_below_half_a_hundredth_is_among_those_with_nothing(
    any_redis_url: str, value: int
) -> None:
    rules = BOARDS[0]
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        await shard.apply([Vote(rules, 3, "é", value, weight=1)], NOON)
        for passed, left in ((0, value), (6 * HOUR, max(value, 0)), (7 * HOUR, 0)):
            await shard.live.roll(SHARD, NOON + passed, periods_at(NOON + passed), {rules.number: 0})
            views = [Query(rules.number, "trending", TopView(n)) for n in (9, 5)]
            ranking, page = await read(shard, views)
            points = {item: (left if item == "é" else 0) for item in ITEMS}
            counts = {item: (value > 0, value < 0) if item == "é" else (0, 0) for item in ITEMS}
            assert standings(ranking) == ranked({item: (points[item], *counts[item]) for item in ITEMS})
            assert page.rows == ranking.rows[:5]


TRENDING = {item: number for number, item in enumerate("abcdeBéz😀\ue000", 1)}
moments = st.tuples(st.sampled_from(sorted(TRENDING)), st.sampled_from([-1, 1]), st.integers(0, 9))


@given(script=st.lists(moments, min_size=1, max_size=12), age=st.sampled_from([HOUR, DAY]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_parts_of_a_trending_ranking_are_cut_from_the_whole(
    any_redis_url: str, script: list[tuple[str, int, int]], age: int
) -> None:
    """Votes some minutes apart, many of which come to be shown alike: those stand by id, wherever a view begins."""
    rules = BOARDS[0]
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await shard.live.add_items(rules, board_items(TRENDING), NOON)
        now = NOON
        for agent, (item, value, minutes) in enumerate(script):
            now += minutes * MINUTE
            await shard.apply([Vote(rules, agent, item, value)], now)
        await trending_as_of(shard, now + age)


async def trending_as_of(shard: Shard, now: int) -> None:
    """Checks every view of the trending ranking of a board against the whole of it."""
    await shard.live.roll(SHARD, now, periods_at(now), {BOARDS[0].number: 0})
    (ranking,) = await read(shard, [Query(BOARDS[0].number, "trending", TopView(100))])
    shown = standings(ranking)
    assert shown == ranked({row.item: (row.points, row.up, row.down) for row in ranking.rows})
    views: dict[ViewSpec, list[Standing]] = {}
    views |= {TopView(n, first): shown[first : first + n] for n in (1, 2, 5) for first in range(len(shown) + 1)}
    views |= {AroundView(row.item, span): around(shown, row.item, span) for row in shown for span in (0, 1, 4)}
    views |= {ItemsView((row.item,)): [row] for row in shown}
    parts = await read(shard, [Query(BOARDS[0].number, "trending", view) for view in views])
    for (view, wanted), part in zip(views.items(), parts, strict=True):
        assert standings(part) == wanted, view


async def test_a_score_between_two_hundredths_ranks_as_it_is_shown(any_redis_url: str) -> None:
    """A vote's 100 points are 12.5 after 18 hours, give or take the last bit of a double."""
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await shard.live.add_items(BOARDS[0], board_items(TRENDING), NOON)
        # At these distances from the first vote the two ways to round differ.
        for minute, item, value in ((0, "a", 1), (36, "z", 1), (138, "B", -1)):
            await shard.apply([Vote(BOARDS[0], minute, item, value)], NOON + minute * MINUTE)
        await trending_as_of(shard, NOON + 36 * MINUTE + 18 * HOUR)
        await trending_as_of(shard, NOON + 138 * MINUTE + 18 * HOUR)


async def test_a_long_tie_of_trending_scores_is_read_whole(any_redis_url: str) -> None:
    """More items than Lua's stack holds."""
    rules = BOARDS[0]
    items = {f"item-{n:05d}": n for n in range(1, 9001)}
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await shard.live.add_items(rules, board_items(items), NOON)
        for minute, first in enumerate(range(1, 9001, 1000)):
            votes = [Vote(rules, 1, f"item-{n:05d}", 1) for n in range(first, first + 1000)]
            await shard.apply(votes, NOON + minute * MINUTE)
        now = NOON + DAY
        await shard.live.roll(SHARD, now, periods_at(now), {rules.number: 0})
        page, near = await read(
            shard,
            [
                Query(rules.number, "trending", TopView(2, 4000)),
                Query(rules.number, "trending", AroundView("item-04001", 1)),
            ],
        )
        assert [(row.item, row.rank) for row in page.rows] == [("item-04001", 1), ("item-04002", 1)]
        assert [row.item for row in near.rows] == ["item-04000", "item-04001", "item-04002"]


async def test_versions_rise_with_each_batch_that_touches_a_board(any_redis_url: str) -> None:
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        (before,) = await read(shard, [Query(1, "all", TopView(1))])
        votes = [Vote(BOARDS[0], agent, "a", 1) for agent in (1, 2, 2)]
        assert (await shard.send(votes, NOON)).changed == [1, before.version + 1]
        assert (await shard.send(votes, NOON)).changed == []
        (after,) = await read(shard, [Query(1, "all", TopView(1))])
        assert after.version == before.version + 1


async def test_an_item_that_is_added_again_keeps_its_counts(any_redis_url: str) -> None:
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await furnish(shard, Model(), NOON)
        await shard.apply([Vote(BOARDS[0], 1, "a", 1)], NOON)
        assert await shard.live.add_items(BOARDS[0], board_items({"a": 11, "new": 99}), NOON) == 1
        (ranking,) = await read(shard, [Query(1, "all", TopView(2))])
        assert standings(ranking) == [Standing("a", 1, 100, 1, 0), Standing("B", 2, 0, 0, 0)]
        assert ranking.total == len(ITEMS) + 1
        assert await shard.live.titles(SHARD, 1, ["song:a", "song:nope"]) == [("Title of a", None), None]


async def test_a_page_far_down_is_found_among_those_that_nobody_voted_for(any_redis_url: str) -> None:
    """A few items with points stand anywhere in the list that the others are taken from."""
    names = [f"item-{number:03d}" for number in range(300)]
    rules = board(1, SHARD)
    async with open_shard(any_redis_url, number=SHARD) as shard:
        await shard.live.add_items(rules, board_items({name: n for n, name in enumerate(names)}), NOON)
        voted = {"item-000": 1, "item-007": -1, "item-008": 1, "item-150": 1, "item-298": -1, "item-299": 1}
        await shard.apply([Vote(rules, 1, name, value) for name, value in voted.items()], NOON)
        order = sorted(names, key=lambda name: (-voted.get(name, 0), name))
        for window in ("all", "day", "trending"):
            queries = [Query(1, window, TopView(7, offset)) for offset in range(302)]
            pages = await read(shard, queries)
            for query, page in zip(queries, pages, strict=True):
                assert isinstance(query.view, TopView)
                assert [row.item for row in page.rows] == order[query.view.offset : query.view.offset + 7]
