"""The page's files as they are served."""

import re
from collections.abc import Iterator
from importlib.resources import files
from urllib.parse import urljoin

import pytest
from litestar import Litestar
from litestar.testing import TestClient, create_test_client

from app.web import handlers

SCRIPTS = sorted(file.name for file in (files("app.web") / "static").iterdir() if file.name.endswith(".js"))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with create_test_client(handlers()) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/boards/songs"])
def test_a_page_is_html_that_loads_nothing_from_elsewhere(client: TestClient[Litestar], path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"<style|style=|<script>| on[a-z]+=", answer.text)
    loaded = re.findall(r'<(?:link|script)[^>]* (?:src|href)="([^"]+)"', answer.text)
    assert len(loaded) == 4
    for address in loaded:
        assert client.get(urljoin(path, address)).status_code == 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_only_what_is_served_and_build_no_markup(client: TestClient[Litestar], name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    for imported in re.findall(r'(?:from|^import) "([^"]+)"', answer.text, re.MULTILINE):
        assert imported.removeprefix("./") in SCRIPTS
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", answer.text)


@pytest.mark.parametrize(("name", "kind"), [("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml")])
def test_other_files_have_their_types(client: TestClient[Litestar], name: str, kind: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_a_browser_has_already_is_not_sent_again(client: TestClient[Litestar]) -> None:
    first = client.get("/static/board.js")
    again = client.get("/static/board.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/static/board.js", headers={"if-none-match": '"other"'}).status_code == 200


def test_only_the_page_s_own_files_are_served(client: TestClient[Litestar]) -> None:
    for path in ("/static/", "/static/nothing.js", "/static/index.html", "/static/..%2f__init__.py"):
        assert client.get(path).status_code == 404


def test_head_answers_like_get(client: TestClient[Litestar]) -> None:
    assert client.head("/").headers["etag"] == client.get("/").headers["etag"]


@pytest.mark.parametrize("path", ["/boards", "/boards/", "/boards?tenant=a%26b", "/boards/?tenant=a%26b"])
def test_no_board_at_all_leads_to_the_boards(client: TestClient[Litestar], path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == 307
    assert urljoin(path, answer.headers["location"]) == path.replace("/boards/", "/").replace("/boards", "/")
    assert client.get(path).content == client.get("/").content


@pytest.mark.parametrize("host", ["a:b", "a:99999"])
def test_that_way_needs_no_host_that_can_be_one(client: TestClient[Litestar], host: str) -> None:
    answer = client.get("/boards?tenant=a", headers={"host": host}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "./?tenant=a")


def test_the_widget_imports_from_where_it_came(client: TestClient[Litestar]) -> None:
    answer = client.get("/embed.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    imported = re.findall(r'from "([^"]+)"', answer.text)
    assert imported
    for address in imported:
        assert client.get(urljoin("/embed.js", address)).status_code == 200
