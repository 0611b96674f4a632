"""The sums of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.rounds import Report


@dataclass(slots=True)
class Tally:
    """Sums over all rounds; votes that a live store took along with its data are counted apart, as `forfeited`.

    `sent` counts votes with every time that one was sent again, in `voting` seconds of voting.
    """

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    diverged: int = 0
    forfeited: int = 0
    untold: int = 0
    sent: int = 0
    voting: float = 0.0

    def add(self, report: Report) -> None:
        """Counts a round."""
        verdict = report.verdict
        self.rounds += 1
        self.faults.update(report.kinds)
        self.acknowledged += report.acknowledged
        self.lost += len(verdict.lost)
        self.doubled += len(verdict.doubled)
        self.diverged += len(verdict.diverged)
        self.forfeited += verdict.forfeited
        self.untold += verdict.untold
        self.sent += report.sent
        self.voting += report.voting

    @property
    def clean(self) -> bool:
        """Whether there were rounds, and every promise was kept in all of them."""
        return bool(self.rounds) and not (self.lost or self.doubled or self.diverged)

    def table(self) -> str:
        """How often each fault struck, for people."""
        rows = [("fault", "rounds"), *sorted(self.faults.items())]
        return "\n".join(f"{kind:28} {count:>6}" for kind, count in rows)

    def summary(self) -> dict[str, object]:
        """Everything, for machines."""
        names = ("acknowledged", "lost", "doubled", "diverged", "forfeited", "untold")
        figures = {name: getattr(self, name) for name in names}
        rate = round(self.sent / self.voting) if self.voting else 0
        return {"rounds": self.rounds, "faults": dict(self.faults), **figures, "votes_per_second": rate}
