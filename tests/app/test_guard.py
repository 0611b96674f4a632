"""Guessing keys: limited for each address, on both doors, and no trouble for those who have one."""

import asyncio
from collections.abc import Sequence

import pytest

from app.guard import PER_MINUTE, Guard
from channels.errors import PlauditError
from tests.app.conftest import House
from tests.app.contract import refusal
from tests.app.sockets import Stage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def let_in(guard: Guard, addresses: Sequence[str]) -> int:
    def passes(address: str) -> bool:
        try:
            guard.charge(address)
        except PlauditError:
            return False
        return True

    return sum(passes(address) for address in addresses)


def test_so_many_a_minute() -> None:
    clock = Clock()
    guard = Guard(clock)
    assert let_in(guard, ["192.0.2.1"] * 100) == PER_MINUTE
    assert let_in(guard, ["192.0.2.2"]) == 1
    with pytest.raises(PlauditError) as caught:
        guard.charge("192.0.2.1")
    assert caught.value.retry_after_ms == 60_000 // PER_MINUTE
    clock.now += 2 * 60 / PER_MINUTE
    assert let_in(guard, ["192.0.2.1"] * 5) == 2
    clock.now += 60
    assert let_in(guard, ["192.0.2.1"] * 100) == PER_MINUTE


def test_what_was_good_is_given_back() -> None:
    guard = Guard(Clock())
    for _ in range(1000):
        guard.charge("192.0.2.1")
        guard.refund("192.0.2.1")
    assert len(guard) == 0


def test_memory_is_bounded() -> None:
    guard = Guard(Clock(), addresses=100)
    assert let_in(guard, [f"192.0.2.{number}" for number in range(250)]) == 250
    assert len(guard) == 100


def test_a_network_of_ipv6_is_one_address() -> None:
    guard = Guard(Clock())
    assert let_in(guard, [f"2001:db8::{number:x}" for number in range(1, 100)]) == PER_MINUTE
    assert let_in(guard, ["2001:db8:0:1::1", "fe80::1%eth0", "no:address"]) == 3


def test_addresses_of_both_kinds_on_one_socket_are_told_apart() -> None:
    guard = Guard(lambda: 0.0)
    assert let_in(guard, ["::ffff:192.0.2.1"] * 100) == PER_MINUTE
    assert let_in(guard, ["192.0.2.1"]) == 0
    assert let_in(guard, ["::ffff:192.0.2.2"]) == 1


async def test_guesses_over_http(house: House) -> None:
    known = await house.free.get("/api/v1/me")
    answers = await asyncio.gather(*(house.door.with_key(f"guess-{n}").get("/api/v1/me") for n in range(100)))
    codes = [refusal(answer) for answer in answers]
    assert codes.count((401, "unauthorized")) == PER_MINUTE
    assert codes.count((429, "too_fast")) == 100 - PER_MINUTE
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    # Keys that are none are slowed, and nobody else at the address is.
    assert known.status_code == 200
    assert (await house.free.get("/api/v1/me")).status_code == 200
    house.services.registry.heard()
    assert (await house.free.get("/api/v1/me")).status_code == 200
    assert (await house.pro.get("/api/v1/me")).status_code == 200  # made here, and never used before
    assert (await house.door.get("/api/v1/boards")).status_code == 200


async def test_a_crowd_with_good_keys_is_no_guesser(stage: Stage) -> None:
    key = await stage.key()
    stage.services.registry.heard()
    stage.services.registry._good.clear()

    async def greeted() -> str:
        async with stage.connect() as client:
            return str((await client.ask("hello", token=key))["type"])

    assert set(await asyncio.gather(*(greeted() for _ in range(3 * PER_MINUTE)))) == {"welcome"}


async def test_guesses_over_the_websocket(stage: Stage) -> None:
    key = await stage.key()
    for number in range(PER_MINUTE):
        async with stage.connect() as client:
            await client.send({"type": "hello", "id": 1, "token": f"guess-{number}"})
            assert (await client.closed()).code == 4401
    async with stage.connect() as client:
        refused = await client.ask("hello", token="one too many")
        assert (refused["type"], refused["code"], refused["temporary"]) == ("error", "too_fast", True)
        assert refused["retry_after_ms"] > 0
        assert (await client.ask("hello", token=key))["type"] == "welcome"


async def test_a_revoked_key_is_no_better_than_a_guess(house: House) -> None:
    made = (await house.admin.post("/api/v1/agents", {"agent_id": "left", "tier": "free"})).json()
    left = house.door.with_key(made["api_key"])
    assert (await left.get("/api/v1/me")).status_code == 200
    await house.admin.delete(f"/api/v1/agents/left/keys/{made['key_id']}")
    codes = [refusal(await left.get("/api/v1/me"))[1] for _ in range(PER_MINUTE + 1)]
    assert codes == ["unauthorized"] * PER_MINUTE + ["too_fast"]
