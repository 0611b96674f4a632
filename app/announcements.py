"""What the live store announces: boards that any server's votes changed, and that the store is another one now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from app.activity import Activity
from channels.hub import Hub
from storage.batcher import Batcher
from storage.errors import StorageError
from storage.live import LiveStore
from storage.tasks import end
from storage.types import Changed

_RECONNECT: Final = 0.2


class Announcements:
    """Carries them to the hub, to the batchers of the shards that are served here, and to the activity of boards."""

    def __init__(self, live: LiveStore, batchers: Mapping[int, Batcher], hub: Hub, activity: Activity) -> None:
        self._live = live
        self._batchers = batchers
        self._hub = hub
        self._activity = activity
        self._anew = asyncio.Event()
        self._epochs: dict[int, str] = {}

    def begin_anew(self) -> None:
        """Listens once more: there is another shard to listen for, or another store to listen to."""
        self._anew.set()

    def note_epoch(self, shard: int, epoch: str) -> None:
        """A live state that was rebuilt is shown to everyone, also where no vote has come since."""
        if self._epochs.setdefault(shard, epoch) != epoch:
            self._epochs[shard] = epoch
            self._hub.doubt()
            # Announcements may still come from the store before this one.
            self.begin_anew()

    async def follow(self) -> None:
        """Listens, over any number of losses of the store, until cancelled."""
        while True:
            self._hub.deafened()  # again: who listened may have been told of something while it was ended
            self._anew.clear()
            hearing = asyncio.create_task(self._hear(list(self._batchers)))
            changing = asyncio.create_task(self._anew.wait())
            try:
                await asyncio.wait([hearing, changing], return_when=asyncio.FIRST_COMPLETED)
                # What is announced until it is heard again is missed.
                self._hub.deafened()
                if hearing.done():
                    error = hearing.exception()
                    if error is not None and not isinstance(error, StorageError):
                        raise error
                    await asyncio.sleep(_RECONNECT)
            finally:
                await end(hearing, changing)

    async def _hear(self, shards: Sequence[int]) -> None:
        if not shards:
            await asyncio.Event().wait()
        async for message in self._live.changes(shards):
            if message is None:
                for shard in shards:
                    self._batchers[shard].check()
                self._hub.listening()
            else:
                self._announced(message)

    def _announced(self, message: Changed) -> None:
        self.note_epoch(message.shard, message.epoch)
        self._batchers[message.shard].observe(message.epoch, message.seq)
        self._hub.changed(message.epoch, message.versions)
        self._activity.voted(message.events)
