"""Settings: where they come from, what they refuse, and what they say then."""

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, table


def test_nothing_set_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.database_url is None
    assert settings.data == Path(".plaudit")


def test_the_environment_is_read() -> None:
    settings = Settings.from_env(
        {
            "REDIS_URL": "redis://cache:6379/0",
            "PLAUDIT_PORT": "0",
            "PLAUDIT_DATA": "/srv/plaudit",
            "PLAUDIT_TICK_RATE": "2.5",
            "PLAUDIT_QUOTA_PRO": "none",
            "PLAUDIT_LOG_LEVEL": "DEBUG",
            "PLAUDIT_ORIGINS": "https://one.example/, http://two.example:8080",
            "UNRELATED": "1",
        }
    )
    assert settings == Settings(
        redis_url="redis://cache:6379/0",
        port=0,
        data=Path("/srv/plaudit"),
        tick_rate=2.5,
        quota_pro=None,
        log_level="debug",
        origins=("https://one.example", "http://two.example:8080"),
    )


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_env({variable.variable: " " for variable in table().values()}) == Settings()


def test_every_value_can_be_said_in_text() -> None:
    chosen = Settings(
        redis_url="redis://cache:6379/0",
        admin_key="a-key-that-somebody-chose",
        tick_rate=2.5,
        quota_free=None,
        quota_pro=0,
        connections_per_address=7,
        trusted_proxies=("10.0.0.0/8", "127.0.0.1/32"),
        origins=("https://one.example", "http://two.example:8080"),
    )
    for settings in (chosen, Settings()):
        told = {row.variable: row.kind.text(getattr(settings, field)) for field, row in table().items()}
        assert Settings.from_env(told) == settings


def test_a_flag_goes_before_the_environment() -> None:
    environ = {"PLAUDIT_PORT": "9000", "PLAUDIT_HOST": "::1"}
    settings = Settings.from_env(environ, port="9001", host=None)
    assert (settings.port, settings.host) == (9001, "::1")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DATABASE_URL", "mysql://db/plaudit"),
        ("REDIS_URL", "cache:6379"),
        ("PLAUDIT_HOST", "two words"),
        ("PLAUDIT_PORT", "65536"),
        ("PLAUDIT_PORT", "tcp://10.0.0.1:8000"),
        ("PLAUDIT_ADMIN_KEY", "short"),
        ("PLAUDIT_TENANT", "Not A Slug"),
        ("PLAUDIT_WORKERS", "0"),
        ("PLAUDIT_WORKERS", "1.5"),
        ("PLAUDIT_TICK_RATE", "nan"),
        ("PLAUDIT_QUOTA_FREE", "-1"),
        ("PLAUDIT_SHARDS", "many"),
        ("PLAUDIT_PREFIX", "{tag}"),
        ("PLAUDIT_CONNECTIONS", "none"),
        ("PLAUDIT_HEARTBEAT", "inf"),
        ("PLAUDIT_LOG_LEVEL", "loud"),
        ("PLAUDIT_LOG_FORMAT", "xml"),
        ("PLAUDIT_ORIGINS", "example.org"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({variable: text})
    sentence = str(refusal.value)
    assert sentence.startswith(f"{variable} must be ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    secret = any(setting.secret for setting in table().values() if setting.variable == variable)
    assert (text in sentence) is not secret


def test_a_wrong_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingsError, match=r"^--tick-rate must be a number from .*, not 'fast'\.$"):
        Settings.from_env({}, tick_rate="fast")


def test_secrets_do_not_show() -> None:
    settings = Settings(database_url="postgresql://u:hidden-1@db/x", admin_key="hidden-2-hidden-2")
    assert "hidden" not in repr(settings)
    assert "port=8000" in repr(settings)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


def test_variables_and_flags_are_unique() -> None:
    settings = list(table().values())
    assert len({setting.variable for setting in settings}) == len(settings)
    assert len({setting.flag for setting in settings}) == len(settings)
