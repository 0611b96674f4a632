"""What commands share that talk to a server: where it is, with which key, and how they fail."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from app.address import ADDRESS_FILE, address_in, local_url
from app.admin import AdminError
from app.commands.common import load_settings
from app.tenants import ADMIN_KEY_FILE, DEMO_KEY_FILE, kept_secret
from channels.client import LOST, PlauditError
from channels.link import websocket_url

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
    """A server's address, and the folder of a local server's keys, None where it is another machine's.

    `noted` is the file in which the address stood, None where it came from elsewhere.
    """

    url: str
    keys: Path | None
    noted: Path | None = None

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
    """The server that is meant: the one given, else that of the data folder, else the one that would be started here.

    Raises UsageError where the address is none.
    """
    settings = load_settings()
    noted = None if url else address_in(settings.data)
    url = url or noted or local_url(settings.host, settings.port)
    try:
        websocket_url(url)
        # A key that is kept here is nothing to show to another machine.
        local = _is_loopback(urlsplit(url).hostname or "")
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    return Reach(url, settings.data if local else None, settings.data / ADDRESS_FILE if noted else None)


@contextmanager
def one_sentence(server: Reach) -> Iterator[None]:
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
        lost = said if server.url in said else f"{server.url} can't be reached: {said}"
        if server.noted is not None:
            lost = f"{lost.rstrip('.')}. {server.noted} has this address: a server that was killed leaves one behind."
        raise Unavailable(lost) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
