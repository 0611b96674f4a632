"""Every row of the table, in order."""

from __future__ import annotations

from typing import Final

from loadtests.bench.cases import badload, fanout, million, processes, requests, sizes, votes, watching
from loadtests.bench.figures import Case

CASES: Final[tuple[Case, ...]] = tuple(
    case for group in (votes, requests, fanout, watching, million, sizes, processes, badload) for case in group.CASES
)
