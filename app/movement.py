"""What movement is counted from: ranks as of samples, remembered while they are shown, asked for in few questions.

Every board's viewers wait for what is asked here, so that an archive which does not answer must not hold them up:
then there is no movement for a while, rather than no ranking.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from storage.errors import StorageError
from storage.types import Sample, Window

ROWS: Final = 1_000_000
"""Ranks that are remembered: a thousand windows of a thousand items, in some hundred megabytes."""

WITHIN: Final = 0.25
"""Seconds that a read waits for all its samples together."""

PAUSE: Final = 5.0
"""Seconds without a question after one that was not answered in time, and until which an answer is still good."""

Ranks = Mapping[str, int]


class FindsRanks(Protocol):
    """Where samples are kept."""

    async def ranks(self, wanted: Sequence[Sample]) -> list[dict[str, int]]: ...


class _Kept(NamedTuple):
    at: int
    ranks: Ranks

    @property
    def size(self) -> int:
        # A window without a sample is remembered as well.
        return 1 + len(self.ranks)


class Movement:
    """Remembers the latest sample of each window that was asked for, as far as there is room for `rows` ranks."""

    def __init__(self, samples: FindsRanks, rows: int = ROWS) -> None:
        self._samples = samples
        self._room = rows
        self._kept: OrderedDict[tuple[int, Window], _Kept] = OrderedDict()
        self._asking: dict[Sample, asyncio.Task[None]] = {}
        self._ask_from = 0.0

    async def ranks(self, wanted: Iterable[Sample]) -> dict[Sample, Ranks]:
        """Item -> rank as of each sample; a sample that can't be had in time is left out. Never raises."""
        samples = dict.fromkeys(wanted)
        missing = [sample for sample in samples if self._known(sample) is None]
        if missing and asyncio.get_running_loop().time() >= self._ask_from:
            await self._ask(missing)
        found = {sample: self._known(sample) for sample in samples}
        return {sample: ranks for sample, ranks in found.items() if ranks is not None}

    def _known(self, sample: Sample) -> Ranks | None:
        window = sample.board, sample.window
        kept = self._kept.get(window)
        if kept is None or kept.at != sample.at:
            return None
        self._kept.move_to_end(window)
        return kept.ranks

    async def _ask(self, missing: Sequence[Sample]) -> None:
        new = [sample for sample in missing if sample not in self._asking]
        if new:
            self._asking |= dict.fromkeys(new, asyncio.create_task(self._fetch(new)))
        _, late = await asyncio.wait({self._asking[sample] for sample in missing}, timeout=WITHIN)
        if late:
            self._pause()

    async def _fetch(self, samples: Sequence[Sample]) -> None:
        try:
            async with asyncio.timeout(PAUSE):
                found = await self._samples.ranks(samples)
            for sample, ranks in zip(samples, found, strict=True):
                self._keep(sample, ranks)
        except (StorageError, TimeoutError):
            self._pause()
        finally:
            for sample in samples:
                del self._asking[sample]

    def _pause(self) -> None:
        self._ask_from = asyncio.get_running_loop().time() + PAUSE

    def _keep(self, sample: Sample, ranks: Ranks) -> None:
        window = sample.board, sample.window
        before = self._kept.get(window)
        if before is not None:
            if before.at > sample.at:
                return
            self._room += before.size
        self._kept[window] = kept = _Kept(sample.at, ranks)
        self._kept.move_to_end(window)
        self._room -= kept.size
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.size
