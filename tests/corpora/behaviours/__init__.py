"""Behaviours in real responses, labelled sentence by sentence, and how well a detector finds them.

README.md beside this file has the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlsp.behaviours.spans import Behaviour, Span

FOLDER = Path(__file__).parent
Detector = Callable[[str, str], Sequence[Span]]
"""(response, question) → spans."""

JUDGED_BY = {
    Behaviour.VERIFICATION: ("fresh",),
    Behaviour.BACKTRACKING: ("fresh",),
    Behaviour.SUBGOAL: ("fresh",),
    Behaviour.SELF_CORRECTION: ("test",),
    Behaviour.BACKWARD_CHAINING: ("test",),
    Behaviour.REPETITION: ("test",),
    Behaviour.ALTERNATIVE: ("development", "test", "fresh"),
}
"""The sentences that nobody had seen who wrote the patterns; of alternatives there are too few to keep any back."""


@dataclass(frozen=True, slots=True)
class Label:
    """One sentence and what two readers say that it shows. `whole`: it stands in a response that was read whole."""

    set: str
    whole: bool
    file: str
    idx: int
    start: int
    end: int
    first: frozenset[Behaviour]
    second: frozenset[Behaviour]

    def says(self, behaviour: Behaviour) -> bool | None:
        """None where the readers disagree."""
        views = behaviour in self.first, behaviour in self.second
        return views[0] if views[0] == views[1] else None


@dataclass(frozen=True, slots=True)
class Found:
    """Sentences of one behaviour, by what the readers and the detector say."""

    both: int
    only_detector: int
    only_readers: int

    @property
    def precision(self) -> tuple[int, int]:
        """(right, all) of what the detector finds."""
        return self.both, self.both + self.only_detector

    @property
    def recall(self) -> tuple[int, int]:
        """(found, all) of what the readers label."""
        return self.both, self.both + self.only_readers


def labels() -> list[Label]:
    """Every labelled sentence; of responses that were read whole, only those with a label are listed."""
    found = []
    for line in (FOLDER / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        views = (frozenset(map(Behaviour, values[reader])) for reader in ("first", "second"))
        found.append(Label(*(values[key] for key in ("set", "whole", "file", "idx", "start", "end")), *views))
    return found


def read_whole() -> dict[str, list[tuple[str, int]]]:
    """(file, idx) of the responses that were read whole, by set."""
    values = json.loads((FOLDER / "whole.json").read_text(encoding="utf-8"))
    return {name: [(each["file"], each["idx"]) for each in chosen] for name, chosen in values.items()}


def responses(data: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """(response, question) by file and idx, from the folder that holds the published files."""
    found = {}
    for file in sorted(data.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            found[file.stem, values["idx"]] = values["responses"][0], values["problem"]
    return found


def kappa(behaviour: Behaviour) -> float:
    """Cohen's κ of the two readers on single sentences."""
    rows = [label for label in labels() if not label.whole]
    first = sum(behaviour in label.first for label in rows) / len(rows)
    second = sum(behaviour in label.second for label in rows) / len(rows)
    agreed = sum(label.says(behaviour) is not None for label in rows) / len(rows)
    chance = first * second + (1 - first) * (1 - second)
    return (agreed - chance) / (1 - chance)


def on_sentences(
    detect: Detector, texts: Mapping[tuple[str, int], tuple[str, str]], behaviour: Behaviour, sets: Sequence[str]
) -> Found:
    """What the detector finds among single sentences of these sets; those that the readers disagree on don't count."""
    counted = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for label in labels():
        says = label.says(behaviour)
        if label.set in sets and not label.whole and says is not None:
            spans = detect(*texts[label.file, label.idx])
            counted[_overlaps(spans, behaviour, label.start, label.end), says] += 1
    return Found(counted[True, True], counted[True, False], counted[False, True])


def in_whole_responses(
    detect: Detector, texts: Mapping[tuple[str, int], tuple[str, str]], behaviour: Behaviour
) -> Found:
    """The same over every sentence of the responses that were read whole."""
    chosen = {key for each in read_whole().values() for key in each}
    labelled = [label for label in labels() if label.whole and (label.file, label.idx) in chosen]
    both = only_detector = only_readers = 0
    for key in sorted(chosen):
        spans = [span for span in detect(*texts[key]) if span.behaviour is behaviour]
        here = [label for label in labelled if (label.file, label.idx) == key]
        for span in spans:
            views = [each.says(behaviour) for each in here if each.start < span.end and span.start < each.end]
            both += True in views
            only_detector += True not in views and None not in views
        for label in here:
            if label.says(behaviour) and not _overlaps(spans, behaviour, label.start, label.end):
                only_readers += 1
    return Found(both, only_detector, only_readers)


def _overlaps(spans: Sequence[Span], behaviour: Behaviour, start: int, end: int) -> bool:
    return any(span.behaviour is behaviour and span.start < end and start < span.end for span in spans)
