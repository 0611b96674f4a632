"""Clients behind proxies: whose word on an address is believed, on both doors."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import httpx
import pytest
import segno

from app.guard import PER_MINUTE
from app.house import House as FrontHouse
from app.proxies import Proxies
from app.settings import Settings, SettingsError
from tests.app.sockets import OpenStage, Stage

PROXIES = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody who is no proxy is believed.
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        # What a client says of itself stands before what proxies say of it.
        ("10.0.0.1", ["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["127.0.0.1", "203.0.113.9, 192.0.2.1"], "203.0.113.9"),
        ("10.0.0.1", ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("2001:db8::1", ["2001:db9::1"], "2001:db9::1"),
        ("no address", ["203.0.113.9"], "no address"),
    ],
)
def test_the_last_one_who_is_no_proxy(peer: str, forwarded: Sequence[str], client: str) -> None:
    assert Proxies(PROXIES).client(peer, forwarded) == client
    assert Proxies().client(peer, forwarded) == peer


def test_the_setting_is_a_list_of_networks() -> None:
    read = Settings.from_env({"PLAUDIT_TRUSTED_PROXIES": " 10.1.2.3/8, 192.0.2.1,2001:DB8::/32 "})
    assert read.trusted_proxies == ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")
    with pytest.raises(SettingsError, match="addresses and networks"):
        Settings.from_env({"PLAUDIT_TRUSTED_PROXIES": "10.0.0.0/8, proxy.example"})


def test_a_proxys_connections_are_not_one_clients() -> None:
    house = FrontHouse(6, 2, Proxies(["10.0.0.0/8"]))
    assert [house.enter("10.0.0.1") for _ in range(5)] == [True] * 5
    assert [house.enter(address) for address in ("192.0.2.1", "10.0.0.1")] == [True, False]


async def guess(stage: Stage, times: int, **headers: str) -> set[int]:
    """What some keys that are none are answered."""
    async with httpx.AsyncClient(base_url=stage.url) as http:
        asked = (
            http.get("/api/v1/me", headers={"authorization": f"Bearer guess-{number}", **headers})
            for number in range(times)
        )
        return {answer.status_code for answer in await asyncio.gather(*asked)}


async def test_guessers_behind_a_proxy_are_told_apart(open_stage: OpenStage) -> None:
    async with open_stage(trusted_proxies=("127.0.0.0/8",)) as stage:
        assert await guess(stage, PER_MINUTE + 1, **{"x-forwarded-for": "203.0.113.9"}) == {401, 429}
        assert await guess(stage, 1, **{"x-forwarded-for": "203.0.113.8"}) == {401}
        # Nobody gets rid of an address by putting another one before it.
        assert await guess(stage, 1, **{"x-forwarded-for": "203.0.113.7, 203.0.113.9"}) == {429}
        async with stage.connect(**{"X-Forwarded-For": "203.0.113.9"}) as client:
            assert (await client.ask("hello", token="one more"))["code"] == "too_fast"
        async with stage.connect(**{"X-Forwarded-For": "203.0.113.6"}) as client:
            await client.send({"type": "hello", "id": 1, "token": "a first one"})
            assert (await client.closed()).code == 4401


async def test_without_the_setting_nobody_is_believed(stage: Stage) -> None:
    assert await guess(stage, PER_MINUTE, **{"x-forwarded-for": "203.0.113.9"}) == {401}
    assert await guess(stage, 1, **{"x-forwarded-for": "203.0.113.8"}) == {429}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "203.0.113.8", "203.0.113.9"),
        # Of IPv6 a customer has a whole network.
        ("2001:db8:9::1", "2001:db8:8::1", "2001:db8:9::2"),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.8", "203.0.113.9"),
    ],
)
async def test_websockets_behind_a_proxy_have_a_share_each(
    open_stage: OpenStage, one: str, other: str, same: str
) -> None:
    async with (
        open_stage(trusted_proxies=("127.0.0.1",), connections_per_address=1) as stage,
        stage.connect(**{"X-Forwarded-For": one}) as first,
        stage.connect(**{"X-Forwarded-For": other}) as second,
        stage.connect(**{"X-Forwarded-For": same}) as third,
    ):
        for client in (first, second):
            assert (await client.ask("hello"))["type"] == "welcome"
        assert (await third.closed()).code == 1013


@pytest.mark.parametrize(("trusted", "scheme"), [(("127.0.0.1",), "https"), ((), "http")])
async def test_a_page_has_the_scheme_that_the_proxy_is_asked_with(
    open_stage: OpenStage, trusted: tuple[str, ...], scheme: str
) -> None:
    async with open_stage(trusted_proxies=trusted) as stage, httpx.AsyncClient() as http:
        headers = {"x-forwarded-proto": "https", "host": "votes.example"}
        code = (await http.get(f"{stage.url}/boards/songs/qr.svg", headers=headers)).content
    wanted = io.BytesIO()
    made = segno.make(f"{scheme}://votes.example/boards/songs", error="m", micro=False)
    made.save(wanted, kind="svg", border=3, light="white", xmldecl=False)
    assert code == wanted.getvalue()
