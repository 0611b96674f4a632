"""Contests out of CSV files, and what is said of files that hold none."""

from pathlib import Path

import pytest

from app.replay.contest import Ballot, CsvError, Entry, read_contests

ENTRIES = "item_id,title,artist,url,official_points\na,Glass Rivers,Vela,https://a.example,12\nb,Second,Ötto,https://b.example,\n"
VOTES = "agent_id,item_id,points\nch,a,12\nat,b,1\n"


def files(folder: Path, entries: str = ENTRIES, votes: str = VOTES) -> tuple[Path, Path]:
    (folder / "e.csv").write_text(entries, encoding="utf-8")
    (folder / "v.csv").write_text(votes, encoding="utf-8")
    return folder / "e.csv", folder / "v.csv"


def test_a_contest_without_years_is_one_board(tmp_path: Path) -> None:
    [contest] = read_contests("esc", *files(tmp_path))
    assert contest.slug == "esc"
    assert contest.entries[0] == Entry("a", "Glass Rivers", "Vela", "https://a.example", 12)
    assert contest.entries[1].official is None
    assert contest.ballots == [Ballot("ch", "a", 12), Ballot("at", "b", 1)]
    assert (contest.lowest, contest.highest) == (1, 12)


def test_several_years_are_a_board_each(tmp_path: Path) -> None:
    entries = "year,item_id,title,artist,url\n2017,a,A,X,https://a.example\n2016,a,A,X,https://a.example\n"
    votes = "year,agent_id,item_id,points\n2016,ch,a,8\n2017,ch,a,10\n"
    contests = read_contests("esc", *files(tmp_path, entries, votes))
    assert [(contest.slug, contest.ballots) for contest in contests] == [
        ("esc-2016", [Ballot("ch", "a", 8)]),
        ("esc-2017", [Ballot("ch", "a", 10)]),
    ]


def test_one_year_is_one_board_of_the_plain_name(tmp_path: Path) -> None:
    entries = "year,item_id,title,artist,url\n2016,a,A,X,https://a.example\n"
    [contest] = read_contests("esc", *files(tmp_path, entries, "agent_id,item_id,points\nch,a,8\n"))
    assert contest.slug == "esc"


def test_a_byte_order_mark_and_spaces_do_no_harm(tmp_path: Path) -> None:
    [contest] = read_contests("esc", *files(tmp_path, "\ufeff" + ENTRIES, VOTES.replace("ch,a,12", " ch , a , 12 ")))
    assert contest.ballots[0] == Ballot("ch", "a", 12)


@pytest.mark.parametrize(
    ("entries", "votes", "said"),
    [
        (ENTRIES, VOTES + "de,a,many\n", "v.csv:4: points must be a whole number, not 'many'."),
        (ENTRIES, VOTES + ",a,1\n", "v.csv:4: agent_id is empty."),
        (ENTRIES, VOTES + "de,z,1\n", "v.csv:4: z is not among the entries."),
        (ENTRIES, VOTES + "ch,a,12\n", "v.csv:4: ch has voted on a already."),
        (ENTRIES, VOTES + "de,a\n", "v.csv:4: 2 values, but 3 columns."),
        (ENTRIES, VOTES + 'de,"a"x,1\n', "v.csv:4: not CSV"),
        (ENTRIES, "agent_id,points\nch,1\n", "v.csv:1: there is no column item_id."),
        (ENTRIES, "", "v.csv:1: there is no column agent_id and no column item_id and no column points."),
        (ENTRIES, "agent_id,item_id,points\n", "v.csv has no lines but its header."),
        (ENTRIES + "a,Again,X,https://a.example,1\n", VOTES, "e.csv:4: a is there already."),
        (ENTRIES + "c,,X,https://a.example,1\n", VOTES, "e.csv:4: title is empty."),
        (ENTRIES, "year,agent_id,item_id,points\n2016,ch,a,1\n2017,ch,a,1\n", "has no entries of the year 2016."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, entries: str, votes: str, said: str) -> None:
    with pytest.raises(CsvError) as caught:
        read_contests("esc", *files(tmp_path, entries, votes))
    assert said in str(caught.value)


def test_every_year_needs_votes(tmp_path: Path) -> None:
    entries = "year,item_id,title,artist,url\n2016,a,A,X,https://a.example\n2017,a,A,X,https://a.example\n"
    with pytest.raises(CsvError, match=r"e\.csv:3: .*v\.csv has no votes of the year 2017\."):
        read_contests("esc", *files(tmp_path, entries, "year,agent_id,item_id,points\n2016,ch,a,8\n"))


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    entries, votes = files(tmp_path)
    votes.write_bytes(b"agent_id,item_id,points\n\xff,a,1\n")
    with pytest.raises(CsvError, match="is not UTF-8 text"):
        read_contests("esc", entries, votes)
    votes.unlink()
    with pytest.raises(CsvError, match="can't be read: No such file"):
        read_contests("esc", entries, votes)
