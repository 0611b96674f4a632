"""The page's ranking in JavaScript against the one in Python: same order, ranks, movements and digests."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.delta import diff
from channels.protocol import Delta, Entry, Snapshot
from channels.ranking import View, rank_rows
from channels.wire import Label, delta_of, snapshot_of
from storage.types import Row
from tests.channels.strategies import tops

HERE = Path(__file__).parent
MODULE = HERE.parent.parent.parent / "app" / "web" / "static" / "ranking.js"
LABELS = {"a": Label("Glass Rivers", "Vela"), "b": Label("Second")}

Ask = Callable[[Snapshot, list[Delta]], list[Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Gives the views that ranking.js makes of a snapshot and of each delta that follows it."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("node is needed to test ranking.js")
        pytest.skip("there is no node here")
    command = [node, str(HERE / "ranking.mjs"), str(MODULE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603  # ours
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(snapshot: Snapshot, deltas: list[Delta]) -> list[Any]:
            stdin.write(msgspec.json.encode({"snapshot": snapshot, "deltas": deltas}) + b"\n")
            stdin.flush()
            answer: list[Any] = msgspec.json.decode(stdout.readline())
            return answer

        yield ask
        stdin.close()
        assert process.wait(timeout=10) == 0


def entries_of(view: View) -> list[Any]:
    """What the page should hold of a view: as if it had just been sent whole."""
    entries: list[Any] = msgspec.to_builtins(snapshot_of(view, LABELS, "songs", "all").entries)
    return entries


@settings(deadline=None)
@given(st.integers(1, 6).flatmap(lambda size: st.tuples(*(tops(size, version) for version in range(1, 5)))))
def test_the_page_follows_every_delta(ask: Ask, history: tuple[View, ...]) -> None:
    deltas, reached = [], [history[0]]
    for view in history[1:]:
        change = diff(reached[-1], view)
        # Where a viewer would see nothing change, nothing is sent, and the next delta starts from what was sent last.
        if change is not None:
            deltas.append(delta_of(change, LABELS))
            reached.append(view)
    shown = ask(snapshot_of(history[0], LABELS, "songs", "all"), deltas)
    assert [view["entries"] for view in shown] == [entries_of(view) for view in reached]
    assert [(view["version"], view["total"]) for view in shown] == [(view.version, view.total) for view in reached]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=4), unique=True))
def test_ties_are_ordered_by_code_point(ask: Ask, items: list[str]) -> None:
    view = View.of("epoch", 1, len(items), rank_rows([Row(item, 0, 0, 0, 0, None) for item in items]))
    assert [entry["item"] for entry in ask(snapshot_of(view, {}, "songs", "all"), [])[0]["entries"]] == sorted(items)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), max_size=5))
def test_scores_have_the_same_text_in_both(ask: Ask, scores: list[int]) -> None:
    view = View.of("epoch", 1, 0, rank_rows([Row(f"i{n}", 0, points, 0, 0, None) for n, points in enumerate(scores)]))
    assert ask(snapshot_of(view, {}, "songs", "all"), []) != [None]


def test_what_does_not_hold_is_refused(ask: Ask) -> None:
    rows = [Row("a", 1, 200, 2, 0, None), Row("b", 2, 100, 1, 0, 1)]
    first, second = View.of("epoch", 1, 2, rows), View.of("epoch", 2, 2, [rows[0]])
    change = diff(first, second)
    assert change is not None
    snapshot, delta = snapshot_of(first, {}, "songs", "all"), delta_of(change, {})
    assert None not in ask(snapshot, [delta])
    assert ask(msgspec.structs.replace(snapshot, digest=snapshot.digest ^ 1), []) == [None]
    assert ask(snapshot, [msgspec.structs.replace(delta, digest=delta.digest ^ 1)])[1] is None
    assert ask(snapshot, [msgspec.structs.replace(delta, prev=7)])[1] is None
    tampered = msgspec.structs.replace(delta, entries=[Entry("a", 1, 3, 3, 0, None)])
    assert ask(snapshot, [tampered])[1] is None
