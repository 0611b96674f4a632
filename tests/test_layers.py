"""Imports run one way: app over channels and storage, channels over storage's plain types at most."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "channels", "storage", "sql")

ALLOWED = {
    "app": {"app", "channels", "storage", "sql"},
    "channels": {"channels", "storage.types"},
    "storage": {"storage", "sql"},
    "sql": {"sql"},
}
"""What of our own a package may import."""

ONLY_IN = {
    "redis": {"storage/connections.py", "storage/live.py"},
    "valkey": set(),
    "asyncpg": {"storage/archive.py"},
}
"""Drivers, and the modules whose business they are."""

FOREIGN = {
    "channels": {"litestar", "uvicorn", "sqlite3"},
    "storage": {"litestar", "uvicorn", "websockets", "starlette"},
}
"""What of others a package has nothing to do with."""

EDGE = {f"channels/{name}.py" for name in ("client", "feeds", "http", "hub", "link")}
"""Modules of channels that talk to the world; the others do no I/O and know no clock."""

IMPURE = {
    *("asyncio", "datetime", "logging", "os", "pathlib", "random", "secrets", "selectors", "socket"),
    *("structlog", "subprocess", "threading", "time", "uuid"),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: str, module: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{name.name}" for name in node.names)


def imported_by(path: Path) -> set[str]:
    inner = path.relative_to(ROOT).with_suffix("")
    return set(imports(path.read_text(encoding="utf-8"), ".".join(inner.parts)))


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    assert modules(package)
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in modules(package)
        for name in imported_by(path)
        if name.split(".")[0] in {*PACKAGES, "tests", "loadtests"}
        and not any(within(name, module) for module in ALLOWED[package])
    ]
    assert wrong == []


@pytest.mark.parametrize("driver", ONLY_IN)
def test_one_module_imports_each_driver(driver: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        if any(within(name, driver) for name in imported_by(path))
    }
    assert found == ONLY_IN[driver]


@pytest.mark.parametrize("package", FOREIGN)
def test_packages_keep_to_their_business(package: str) -> None:
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in modules(package)
        for name in imported_by(path)
        if name.split(".")[0] in FOREIGN[package]
    ]
    assert wrong == []


def test_the_core_does_no_io_and_knows_no_clock() -> None:
    core = [path for path in modules("channels") if str(path.relative_to(ROOT)) not in EDGE]
    assert {"protocol", "frames", "ranking", "delta"} <= {path.stem for path in core}
    wrong = [(path.name, name) for path in core for name in imported_by(path) if name.split(".")[0] in IMPURE]
    assert wrong == []


def test_the_reader_sees_every_form_of_import() -> None:
    source = "import a.b as c\nfrom d import e, f\ndef g():\n    from . import h\n    from ..i.j import k\n"
    assert set(imports(source, "app.web.page")) == {"a.b", "d.e", "d.f", "app.web.h", "app.i.j.k"}
