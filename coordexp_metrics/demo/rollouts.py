"""A rollout becomes a lesson: what was found stays, what was missed is appended.

The model answers by itself. Its answer is parsed and matched against the scene. The objects that
parsed are the prefix of a new answer; those that match are pulled towards the truth, those that
match nothing teach nothing, and what was missed is written behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import torch

from coordexp_metrics.demo.coordjson import (
    CLOSE,
    END,
    FIRST_COORD,
    IDS,
    PIECE,
    WORDS,
    Answer,
    decode,
    object_tokens,
)
from coordexp_metrics.demo.detector import GRID
from coordexp_metrics.demo.scenes import Scene
from coordexp_metrics.rollouts import (
    DescriptionMonitor,
    DetectedObject,
    ObjectMatch,
    ParsedRollout,
    RolloutFacts,
    match_objects,
    parse_rollout,
    rollout_facts,
)
from coordexp_metrics.rollouts.masks import Span

__all__ = ["Rollout"]

PROMPT = GRID**2 + 1
GATE, CANVAS = 0.3, 256
DESCRIPTIONS = DescriptionMonitor()


@dataclass(frozen=True)
class Rollout:
    """One answer of the model's own, read and matched against its scene."""

    length: int
    parsed: ParsedRollout
    truth: tuple[DetectedObject, ...]
    match: ObjectMatch

    @classmethod
    def of(cls, scene: Scene, ids: Sequence[int]) -> Rollout:
        """Read generated ids; ground truth is what stands in the scene."""
        truth = tuple(DetectedObject("bbox_2d", box, WORDS[digit]) for digit, box in scene.objects)
        parsed = parse_rollout(decode(ids))
        match = match_objects(parsed.objects, truth, gate=GATE, resolution=CANVAS)
        ended = list(ids).index(IDS[END]) + 1 if IDS[END] in ids else len(ids)
        return cls(ended, parsed, truth, match)

    @property
    def spelled(self) -> list[int]:
        """The predictions whose words have tokens; another word is no target for this model."""
        return [
            index
            for index, thing in enumerate(self.parsed.objects)
            if all(piece in IDS for piece in wrap(thing.desc, PIECE)) and " " not in thing.desc
        ]

    @property
    def supervised(self) -> dict[int, int]:
        """The matched predictions that become targets, with their ground truth."""
        pairs = dict(self.match.pairs)
        return {index: pairs[index] for index in self.spelled if index in pairs}

    def lesson(self) -> Answer:
        """The rollout as a prefix, what it missed behind it, and the close."""
        tokens: list[str] = []
        spans: list[Span] = []
        targets: dict[int, int] = {}
        for thing, span, target in self._objects():
            written = list(object_tokens(thing.desc, thing.points, first=not tokens))
            if target is not None:
                ends = [k for k, token in enumerate(written) if IDS[token] >= FIRST_COORD]
                targets |= {
                    len(tokens) + k + 1: FIRST_COORD + int(point)
                    for k, point in zip(ends, target.points, strict=True)
                }
            tokens += written
            spans += [span] * len(written)
        answer = Answer.of([*tokens, CLOSE, END], [*spans, Span.CLOSURE, Span.CLOSURE])
        for position, label in targets.items():
            answer.labels[position] = label
        return answer

    def _objects(self) -> Iterator[tuple[DetectedObject, Span, DetectedObject | None]]:
        supervised = self.supervised
        for index in self.spelled:
            thing = self.parsed.objects[index]
            if index in supervised:
                yield thing, Span.MATCHED_PREFIX, self.truth[supervised[index]]
            else:
                yield thing, Span.FP_PREFIX, None
        for missed in self.missed:
            yield missed, Span.FN_INJECTED, None

    @property
    def missed(self) -> list[DetectedObject]:
        """Ground truth that no supervised prediction stands for."""
        return [
            thing for index, thing in enumerate(self.truth) if index not in self.supervised.values()
        ]

    def facts(self, lesson: Answer | None = None) -> RolloutFacts:
        """What is known of this rollout, and of the lesson that was made of it."""
        described = DESCRIPTIONS.compare(self.parsed.objects, self.truth, self.match.pairs)
        common: dict[str, Any] = {
            "gen_new_tokens": self.length,
            "rollout_len": self.length,
            "prompt_len": PROMPT,
            "decode_mode": "greedy",
        }
        if lesson is None:
            return rollout_facts(self.parsed, self.match, described, **common)
        tail = torch.tensor([Span.FN_INJECTED, Span.CLOSURE])
        appended = int(torch.isin(lesson.spans, tail).sum())
        return rollout_facts(
            self.parsed,
            self.match,
            described,
            **common,
            excluded=len(self.match.pairs) - len(self.supervised),
            fn_appended=len(self.missed),
            prefix_coord_targets=4 * len(self.supervised),
            tail_tokens=appended,
            tail_tokens_ignored=0,
            closure_dropped=False,
            append_len=appended,
            train_len=len(lesson.ids) - 1,
            encoded_len=PROMPT - 1 + len(lesson.ids),
        )
