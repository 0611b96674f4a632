"""What commands share that talk to a server: where it is, with which key, and how they fail."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import click

from app.admin import AdminError
from app.commands.common import load_settings
from app.tenants import ADMIN_KEY_FILE, DEMO_KEY_FILE, kept_secret
from channels.client import LOST, PlauditError
from channels.link import websocket_url

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to reach what listens there

url_option = click.option("--url", envvar="PLAUDIT_URL", show_envvar=True, help="The server; without it the local one.")
key_option = click.option(
    "--key", envvar="PLAUDIT_KEY", show_envvar=True, help="An agent's key; without it the local server's demo agent's."
)
viewer_option = click.option(
    "--key", envvar="PLAUDIT_KEY", show_envvar=True, help="An agent's key; public boards need none."
)
tenant_option = click.option("--tenant", metavar="SLUG", help="Whose boards, without a key; the default tenant's.")
admin_key_option = click.option(
    "--admin-key",
    envvar="PLAUDIT_ADMIN_KEY",
    show_envvar=True,
    help="The tenant's admin key; without it the local server's.",
)


class Unavailable(click.ClickException):
    """No server answers, or it can't do it now: trying again later may help."""

    exit_code = 3


class Reach(NamedTuple):
    """A server's address, and the folder of a local server's keys, None where it is another machine's."""

    url: str
    keys: Path | None

    def agent_key(self, given: str | None) -> str:
        """An agent's key. Raises UsageError where there is none."""
        key = given or self._kept(DEMO_KEY_FILE)
        if key is None:
            raise click.UsageError("An agent's key is needed: give one with --key, or set PLAUDIT_KEY.")
        return key

    def admin_key(self, given: str | None) -> str:
        """The tenant's admin key. Raises UsageError where there is none."""
        key = given or self._kept(ADMIN_KEY_FILE)
        if key is None:
            raise click.UsageError("An admin key is needed: give one with --admin-key, or set PLAUDIT_ADMIN_KEY.")
        return key

    def _kept(self, name: str) -> str | None:
        return None if self.keys is None else kept_secret(self.keys, name)


def reach(url: str | None) -> Reach:
    """The server that is meant: the one given, else the one that would be started here. Raises UsageError."""
    settings = load_settings()
    if not url:
        host = _ANYWHERE.get(settings.host, settings.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        websocket_url(url)
        # A key that is kept here is nothing to show to another machine.
        local = _is_loopback(urlsplit(url).hostname or "")
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    return Reach(url, settings.data if local else None)


@contextmanager
def one_sentence(url: str) -> Iterator[None]:
    """Makes of whatever a server, or its absence, may answer one sentence and an exit code."""
    try:
        yield
    except PlauditError as error:
        failure = Unavailable if error.temporary else click.ClickException
        raise failure(f"{error.message.rstrip('.')} ({error.code}).") from None
    except AdminError as error:
        raise click.ClickException(str(error)) from None
    except LOST as error:
        said = str(error) or type(error).__name__
        raise Unavailable(said if url in said else f"{url} can't be reached: {said}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
