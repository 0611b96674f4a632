"""Contests from two CSV files: what was voted on, and every ballot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_ENTRY_COLUMNS = ("item_id", "title", "artist", "url")
_BALLOT_COLUMNS = ("agent_id", "item_id", "points")


class CsvError(Exception):
    """A file can't be used. The message is one sentence that says where and why."""


class Entry(NamedTuple):
    """A song of a contest; `official` are the points that it is known to have got, None where that is not told."""

    item_id: str
    title: str
    artist: str
    url: str
    official: int | None


class Ballot(NamedTuple):
    """The points that an agent gave to an item."""

    agent_id: str
    item_id: str
    points: int


class Contest(NamedTuple):
    """A board to be, with what is put on it and all ballots that are cast there; at least one of each."""

    slug: str
    entries: list[Entry]
    ballots: list[Ballot]

    @property
    def lowest(self) -> int:
        """The fewest points of a ballot."""
        return min(ballot.points for ballot in self.ballots)

    @property
    def highest(self) -> int:
        """The most points of a ballot."""
        return max(ballot.points for ballot in self.ballots)


class _Row(NamedTuple):
    """A line of a file by its columns; `where` names it in messages."""

    where: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        if not (text := self.cells[column].strip()):
            raise CsvError(f"{self.where}: {column} is empty.")
        return text

    def number(self, column: str) -> int:
        text = self.text(column)
        try:
            return int(text)
        except ValueError:
            raise CsvError(f"{self.where}: {column} must be a whole number, not {text!r}.") from None


def read_contests(slug: str, entries: Path, votes: Path) -> list[Contest]:
    """The contests of the files, a board each: `slug-year` where there is more than one year, else `slug`.

    Raises CsvError for files that can't be read, lack a column, name something twice, or don't fit each other.
    """
    entry_rows, vote_rows = _read(entries, _ENTRY_COLUMNS), _read(votes, _BALLOT_COLUMNS)
    entries_by_year = _by_year(entry_rows)
    votes_by_year = _by_year(vote_rows)
    several = len(entries_by_year) > 1 or len(votes_by_year) > 1
    if not several:
        # One file may name the year and the other not.
        return [_contest(slug, entry_rows, vote_rows)]
    for year, rows in votes_by_year.items():
        if year not in entries_by_year:
            raise CsvError(f"{rows[0].where}: {entries} has no entries of the year {year or '(none)'}.")
    for year, rows in entries_by_year.items():
        if year not in votes_by_year:
            raise CsvError(f"{rows[0].where}: {votes} has no votes of the year {year or '(none)'}.")
    return [_contest(f"{slug}-{year}", entries_by_year[year], votes_by_year[year]) for year in sorted(entries_by_year)]


def _contest(slug: str, entry_rows: Sequence[_Row], vote_rows: Sequence[_Row]) -> Contest:
    entries: dict[str, Entry] = {}
    for row in entry_rows:
        item = row.text("item_id")
        if item in entries:
            raise CsvError(f"{row.where}: {item} is there already.")
        official = row.number("official_points") if row.cells.get("official_points") else None
        entries[item] = Entry(item, row.text("title"), row.text("artist"), row.text("url"), official)
    ballots: dict[tuple[str, str], Ballot] = {}
    for row in vote_rows:
        ballot = Ballot(row.text("agent_id"), row.text("item_id"), row.number("points"))
        if ballot.item_id not in entries:
            raise CsvError(f"{row.where}: {ballot.item_id} is not among the entries.")
        if ballots.setdefault(ballot[:2], ballot) is not ballot:
            raise CsvError(f"{row.where}: {ballot.agent_id} has voted on {ballot.item_id} already.")
    return Contest(slug, list(entries.values()), list(ballots.values()))


def _by_year(rows: Sequence[_Row]) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row in rows:
        found.setdefault(row.cells.get("year", "").strip(), []).append(row)
    return found


def _read(path: Path, columns: Sequence[str]) -> list[_Row]:
    """The lines of a file that has at least these columns and at least one line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if missing := [column for column in columns if column not in header]:
                raise CsvError(f"{path}:1: there is no column {' and no column '.join(missing)}.")
            rows = []
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if len(cells) != len(header):
                    raise CsvError(f"{where}: {len(cells)} values, but {len(header)} columns.")
                rows.append(_Row(where, dict(zip(header, cells, strict=True))))
    except OSError as error:
        raise CsvError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CsvError(f"{path} is not UTF-8 text.") from None
    except csv.Error as error:
        raise CsvError(f"{path}:{reader.line_num}: not CSV: {error}.") from None
    if not rows:
        raise CsvError(f"{path} has no lines but its header.")
    return rows
