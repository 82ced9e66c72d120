"""Report of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from stack.directions import shown
from stack.questions import IN_FLIGHT
from stack.workers import installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stack.questions import Answered, Latency, Recall
    from stack.screen import Screen

RANKS = {1: ("1st", "bold green"), 2: ("2nd", "yellow"), 3: ("3rd", "yellow"), 4: ("4th", "red"), 5: ("5th", "red")}
MISSED = ("none", "bold red")


@dataclass(frozen=True, slots=True)
class Loading:
    points: int
    messages: int
    confirmed_seconds: float
    """From the first publish to the broker's last confirm."""
    searchable_seconds: float
    """From the first publish until a count finds all of them."""

    @property
    def per_second(self) -> float:
        return self.points / self.searchable_seconds


def answers(screen: Screen, answered: Sequence[Answered]) -> None:
    screen.heading("Questions", "place of the labelled answer, question [filter], score and text of the best answer")
    for answer in answered:
        place, style = RANKS.get(answer.rank or 0, MISSED)
        question = answer.question
        asked = Text(question.text, "bold")
        if wanted := " ".join(filter(None, (question.user, question.kind))):
            asked.append(f"  [{wanted}]", "not bold dim")
        score = f"{answer.score:.3f}"
        screen.rows([(Text(f"{place:>4}", style), asked)])
        screen.rows([("    ", score, answer.best.get("text", "no answer"))])


def figures(screen: Screen, loading: Loading, alone: Latency, per_second: float, found: Recall) -> None:
    screen.heading("Figures")
    searchable = f"all {loading.points} searchable {_ms(loading.searchable_seconds)} after the first publish"
    hits = ", ".join(f"@{k} {hit}/{found.of}" for k, hit in found.hits.items())
    right = "as exact search promises" if found.as_promised else f"promised: {_counts(found.promised, found.of)}"
    screen.rows(
        [
            ("vectors", f"{loading.per_second:,.0f} per second: {searchable}"),
            ("", f"(in {loading.messages} messages, the last one confirmed after {_ms(loading.confirmed_seconds)})"),
            ("latency", f"p50 {alone.p50_ms:.1f} ms, p95 {alone.p95_ms:.1f} ms: {alone.count} asked one at a time"),
            ("", f"({per_second:,.0f} questions per second with {IN_FLIGHT} in flight)"),
            ("recall", Text(f"{hits}: {right}", "green" if found.as_promised else "bold red")),
        ]
    )


def broken(found: Recall) -> str:
    return f"recall is {_counts(found.hits, found.of)}, but has to be {_counts(found.promised, found.of)}"


def next_steps(screen: Screen) -> None:
    screen.heading("Next")
    screen.rows(
        [
            ("scripts/demo --keep", "the same, left running: commands to try, RabbitMQ's management, metrics"),
            ("scripts/serve", "an empty stack that keeps your own data"),
            (f"{shown(installed('memq'))} --help", "the command that sends points and asks questions"),
            (f"{shown(installed('memq-worker'))} --help", "the worker: run, check, declare"),
            ("README.md", "the Python producer; schemas/README.md for other languages"),
        ]
    )


def _counts(hits: dict[int, int], of: int) -> str:
    return ", ".join(f"@{k} {hit}/{of}" for k, hit in hits.items())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
