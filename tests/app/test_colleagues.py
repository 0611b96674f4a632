"""Several processes' numbers as one answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.colleagues import colleagues, merged
from app.metrics import Metrics


def process(votes: int) -> Metrics:
    """The numbers of a process that took so many batches of one vote."""
    metrics = Metrics()
    for _ in range(votes):
        metrics.batch_votes.observe(1)
    metrics.votes.labels("applied").inc(votes)
    metrics.connections.labels("viewer").set(10 * votes)
    return metrics


def telling(votes: int) -> Callable[[], Awaitable[bytes]]:
    metrics = process(votes)

    async def scrape() -> bytes:
        return metrics.text()

    return scrape


def families(text: bytes) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def by_worker(text: bytes, family: str, sample: str) -> dict[str, float]:
    return {
        found.labels["worker"]: found.value
        for found in families(text)[family].samples
        if found.name == sample and found.labels.get("le") in {None, "+Inf"}
    }


def test_every_sample_of_every_process_is_there_under_its_name() -> None:
    texts = {"0": process(3).text().decode(), "1": process(5).text().decode()}
    together = merged(texts)
    assert by_worker(together, "plaudit_votes", "plaudit_votes_total") == {"0": 3, "1": 5}
    assert by_worker(together, "plaudit_connections", "plaudit_connections") == {"0": 30, "1": 50}
    assert by_worker(together, "plaudit_batch_votes", "plaudit_batch_votes_bucket") == {"0": 3, "1": 5}
    for name, text in texts.items():
        for family in families(text.encode()).values():
            assert (family.documentation, family.type) == (
                families(together)[family.name].documentation,
                families(together)[family.name].type,
            )
            for sample in family.samples:
                twins = [
                    twin
                    for twin in families(together)[family.name].samples
                    if (twin.name, twin.labels) == (sample.name, {**sample.labels, "worker": name})
                ]
                assert [twin.value for twin in twins] == [sample.value]


@pytest.fixture
def folder(short_folder: Path) -> Path:
    """Where sockets stand."""
    made = short_folder / uuid4().hex[:8]
    made.mkdir()
    return made


@asynccontextmanager
async def mute(path: Path) -> AsyncIterator[None]:
    """A process that takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


async def test_whoever_is_asked_tells_of_all_that_answer(folder: Path) -> None:
    async with (
        colleagues(folder / "2", telling(2), within=0.2) as second,
        colleagues(folder / "10", telling(7), within=0.2) as tenth,
        mute(folder / "3"),
    ):
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(folder / "4"))
        for scrape in (second, tenth):
            assert by_worker(await scrape(), "plaudit_votes", "plaudit_votes_total") == {"2": 2, "10": 7}
        # Whoever takes the place of one that was killed takes its socket.
        async with asyncio.timeout(10), colleagues(folder / "4", telling(1), within=0.2):
            assert by_worker(await second(), "plaudit_votes", "plaudit_votes_total") == {"2": 2, "4": 1, "10": 7}
