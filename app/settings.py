"""What an operator may choose, from the environment and the command line.

The fields of `Settings` are the one table of settings: each carries its variable, its meaning and
how its text is read. `from_env`, the flags of `plaudit serve` and the table in the README come
from it. Nothing is read when this module is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
Deflated = Literal["off", "browsers", "all"]


class SettingsError(Exception):
    """A setting is wrong. The message is one sentence for whoever set it, and holds no secret."""


class FlagError(SettingsError):
    """It was a flag that gave the wrong one."""


class Kind(msgspec.Struct, frozen=True):
    """How the text of a setting becomes its value.

    `read` raises ValueError where the text is not allowed; `allowed` completes "must be ...". `nothing` is the text for
    no value, where that is not the same as none being given.
    """

    allowed: str
    read: Callable[[str], object]
    nothing: str = ""

    def text(self, value: object) -> str:
        """What is read as this value."""
        if value is None:
            return self.nothing
        return ",".join(value) if isinstance(value, tuple) else str(value)


class Setting(msgspec.Struct, frozen=True):
    """One setting: its environment variable, how it is read, and what it means to an operator."""

    variable: str
    kind: Kind
    doc: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return "--" + self.variable.removeprefix("PLAUDIT_").lower().replace("_", "-")

    def read(self, text: str, origin: str) -> object:
        """The value that `text` stands for.

        Raises SettingsError naming `origin`, the variable or flag that the text came from, FlagError for a flag.
        """
        try:
            return self.kind.read(text)
        except ValueError:
            given = "" if self.secret else f", not {text!r}"
            failure = FlagError if origin == self.flag else SettingsError
            raise failure(f"{origin} must be {self.kind.allowed}{given}.") from None


def _number(number: type[int | float], low: float, high: float, unit: str = "") -> Kind:
    """A number between two bounds, inclusively."""

    def read(text: str) -> float:
        value = number(text)
        # Written so that "nan" is refused too.
        if not low <= value <= high:
            raise ValueError
        return value

    noun = "a whole number" if number is int else "a number"
    return Kind(f"{noun} from {low:,} to {high:,}{unit}", read)


def _or_none(kind: Kind) -> Kind:
    """The same, or the word "none" for no limit."""

    def read(text: str) -> object:
        return None if text.lower() == "none" else kind.read(text)

    return Kind(f"{kind.allowed}, or none", read, "none")


def _one_of(*words: str) -> Kind:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(" or ".join(words), read)


def _matching(pattern: str, allowed: str) -> Kind:
    def read(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError
        return text

    return Kind(allowed, read)


def _url(*schemes: str) -> Kind:
    def read(text: str) -> str:
        # The rest is the driver's to judge: only it knows every parameter that a URL may have.
        if urlsplit(text).scheme not in schemes:
            raise ValueError
        return text

    return Kind("a URL that starts with " + " or ".join(f"{s}://" for s in schemes), read)


def _origins(text: str) -> tuple[str, ...]:
    """Origins from a list with commas, in the form in which browsers send them."""
    origins = tuple(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"https?://[^/\s]+", origin) for origin in origins):
        raise ValueError
    return origins


def _networks(text: str) -> tuple[str, ...]:
    """Addresses and networks from a list with commas."""
    return tuple(str(ip_network(part.strip(), strict=False)) for part in text.split(",") if part.strip())


_COUNT: Final = _number(int, 1, 1_000_000_000)
_QUOTA: Final = _or_none(_number(int, 0, 1_000_000_000))
TENANT_SLUG: Final = _matching(
    r"[a-z0-9][a-z0-9-]{0,62}", "1 to 63 lower-case letters, digits and hyphens, the first not a hyphen"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be chosen; immutable."""

    database_url: Annotated[
        str | None,
        Setting(
            "DATABASE_URL",
            _url("postgresql", "postgres"),
            "PostgreSQL 15 or newer. Without it Plaudit runs a PostgreSQL of its own.",
            secret=True,
        ),
    ] = None
    redis_url: Annotated[
        str | None,
        Setting(
            "REDIS_URL",
            _url("redis", "rediss", "unix"),
            "Redis 7 or Valkey 8, or newer, with `appendonly yes` and `appendfsync always`. "
            "Without it Plaudit runs a Valkey of its own.",
            secret=True,
        ),
    ] = None
    host: Annotated[str, Setting("PLAUDIT_HOST", _matching(r"\S+", "an address"), "Address to listen on.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Setting("PLAUDIT_PORT", _number(int, 0, 65_535), "Port to listen on; 0 picks one.")] = 8000
    data: Annotated[
        Path,
        Setting(
            "PLAUDIT_DATA",
            Kind("a folder", Path),
            "Folder of Plaudit's own servers and of what it has to remember.",
        ),
    ] = Path(".plaudit")
    admin_key: Annotated[
        str | None,
        Setting(
            "PLAUDIT_ADMIN_KEY",
            _matching(r"[!-~]{16,255}", "16 to 255 characters of ASCII without spaces"),
            "Admin key of the default tenant. Without it one is made at the first start and kept.",
            secret=True,
        ),
    ] = None
    tenant: Annotated[
        str,
        Setting(
            "PLAUDIT_TENANT",
            TENANT_SLUG,
            "The default tenant: whom a call without a key and without `tenant` is for.",
        ),
    ] = "default"
    workers: Annotated[int, Setting("PLAUDIT_WORKERS", _number(int, 1, 256), "Server processes.")] = 1
    demo_rate: Annotated[
        float,
        Setting(
            "PLAUDIT_DEMO_RATE",
            _number(float, 0, 1000, " (per second)"),
            "Votes a second of the crowd that gives `serve --demo` life; 0 for none.",
        ),
    ] = 4.0
    tick_rate: Annotated[
        float,
        Setting(
            "PLAUDIT_TICK_RATE",
            _number(float, 0.1, 1000, " (per second)"),
            "Deltas a second that a view sends at most while votes come in.",
        ),
    ] = 10.0
    quota_free: Annotated[
        int | None,
        Setting("PLAUDIT_QUOTA_FREE", _QUOTA, "Votes a day of an agent of the tier free."),
    ] = 100
    quota_pro: Annotated[
        int | None, Setting("PLAUDIT_QUOTA_PRO", _QUOTA, "Votes a day of an agent of the tier pro.")
    ] = 1000
    quota_enterprise: Annotated[
        int | None,
        Setting("PLAUDIT_QUOTA_ENTERPRISE", _QUOTA, "Votes a day of an agent of the tier enterprise."),
    ] = None
    shards: Annotated[
        int,
        Setting(
            "PLAUDIT_SHARDS",
            _number(int, 1, 4096),
            "Shards that new tenants are spread over.",
        ),
    ] = 4
    prefix: Annotated[
        str,
        Setting(
            "PLAUDIT_PREFIX",
            _matching(r"[A-Za-z0-9:._-]{1,64}", "1 to 64 letters, digits and any of : . _ -"),
            "What every key in the live store starts with.",
        ),
    ] = "plaudit"
    backlog: Annotated[
        int,
        Setting(
            "PLAUDIT_BACKLOG",
            _COUNT,
            "Events not yet in PostgreSQL at which further votes are refused as `overloaded`.",
        ),
    ] = 1_000_000
    ack_replicas: Annotated[
        int,
        Setting(
            "PLAUDIT_ACK_REPLICAS",
            _number(int, 0, 100),
            "Replicas of the live store that must have a vote before it is acknowledged (`WAIT`), so that none is "
            "lost with the primary. While fewer confirm within a second, votes are answered `internal`.",
        ),
    ] = 0
    messages_per_second: Annotated[
        int,
        Setting("PLAUDIT_MESSAGES_PER_SECOND", _COUNT, "Messages a second from one connection."),
    ] = 5000
    connections: Annotated[
        int,
        Setting(
            "PLAUDIT_CONNECTIONS", _COUNT, "Websockets of one server process; over HTTP twice as many connections."
        ),
    ] = 15_000
    connections_per_address: Annotated[
        int | None,
        Setting(
            "PLAUDIT_CONNECTIONS_PER_ADDRESS",
            _or_none(_COUNT),
            "Websockets from one address (of IPv6: one /64) to one server process; over HTTP as many connections, "
            "at least 32.",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Setting(
            "PLAUDIT_TRUSTED_PROXIES",
            Kind("a list of addresses and networks like 10.0.0.0/8, with commas", _networks),
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses or networks, with commas.",
        ),
    ] = ()
    heartbeat: Annotated[
        float,
        Setting(
            "PLAUDIT_HEARTBEAT",
            _number(float, 1, 3600, " (seconds)"),
            "Seconds of silence after which a websocket is probed.",
        ),
    ] = 25.0
    deflate: Annotated[
        Deflated,
        Setting(
            "PLAUDIT_DEFLATE",
            _one_of("off", "browsers", "all"),
            "Which websockets are compressed, where the client offers it: `off`, `browsers` or `all`. Deltas become a "
            "third of what they were, but libraries that agree to it compress each vote too, which saves nothing.",
        ),
    ] = "browsers"
    log_level: Annotated[
        LogLevel,
        Setting(
            "PLAUDIT_LOG_LEVEL",
            _one_of("debug", "info", "warning", "error"),
            "The least of what is logged.",
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        Setting("PLAUDIT_LOG_FORMAT", _one_of("console", "json"), "For people or for machines."),
    ] = "console"
    origins: Annotated[
        tuple[str, ...],
        Setting(
            "PLAUDIT_ORIGINS",
            Kind("a list of origins like https://example.org, with commas", _origins),
            "Further origins whose pages may use the API and the websocket from a browser.",
        ),
    ] = ()

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **overrides: str | None) -> Settings:
        """The settings that `environ` gives, with `overrides` (field to text) in their place.

        A variable that is empty counts as absent, and so does an override that is None. Raises
        SettingsError.
        """
        values: dict[str, Any] = {}
        for field, setting in table().items():
            flag = overrides.get(field)
            if flag is not None:
                values[field] = setting.read(flag, setting.flag)
            elif text := environ.get(setting.variable, "").strip():
                values[field] = setting.read(text, setting.variable)
        return cls(**values)

    def __repr__(self) -> str:
        """The settings with every secret left out, so that they can be logged."""
        shown = (
            f"{field}={'...' if setting.secret and value else repr(value)}"
            for field, setting in table().items()
            for value in [getattr(self, field)]
        )
        return f"Settings({', '.join(shown)})"


@cache
def table() -> dict[str, Setting]:
    """Every setting by the name of its field, in the order in which they are documented."""
    hints = get_type_hints(Settings, include_extras=True)
    return {field: hints[field].__metadata__[0] for field in Settings.__struct_fields__}


def markdown_table() -> str:
    """The settings as a table for the README."""
    defaults = Settings()
    rows = ["| variable | flag | default | meaning |", "| --- | --- | --- | --- |"]
    rows += (
        f"| `{setting.variable}` | `{setting.flag}` | {_shown(getattr(defaults, field))} | {setting.doc} |"
        for field, setting in table().items()
    )
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    """A default as it would be set."""
    if default is None or default == ():
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
