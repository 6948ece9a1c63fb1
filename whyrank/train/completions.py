"""What GRPO sees of completions besides their rewards."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from whyrank.llm.answer import Ok
from whyrank.llm.chat import Chat
from whyrank.rerank.formats import Format
from whyrank.retrieval.rewrite.base import read as read_rewritten
from whyrank.train.draws import spec_of
from whyrank.train.held_out import ranked
from whyrank.train.rewards.base import thought_of
from whyrank.types import RankTask


class CompletionFigures:
    """What is seen of the completions of a batch: how well formed, how long the thought, bias of place."""

    def __init__(self, formats: Sequence[Format[Any] | None], chat: Chat) -> None:
        """Take the formats that they are read with; None is a rewriter's, whose answer is taken as it stands."""
        self._formats = {spec_of(format): format for format in formats}
        self._chat = chat
        self.tell: Any = None

    def __call__(
        self, completions: Sequence[Ok], tasks: Sequence[RankTask], formats: Sequence[str]
    ) -> dict[str, float]:
        """The figures of one batch by name; where there are several formats, by format and name.

        Of the answers in the right form, `rank_by_place` goes to metrics.jsonl: for each place shown, how far below
        the middle of the list what stood there was ranked, in ranks, as a mean; 0 at all places is no bias.
        `position_bias` is the correlation of place and rank, both as shares of the list.
        """
        figures: dict[str, float] = {}
        for name, format in self._formats.items():
            mine = [at for at, one in enumerate(formats) if one == name]
            begin = f"{name}/" if len(self._formats) > 1 else ""
            seen = self._seen(format, [completions[at] for at in mine], [tasks[at] for at in mine], begin)
            figures |= {f"{begin}{figure}": value for figure, value in seen.items()}
        return figures

    def _seen(
        self, format: Format[Any] | None, completions: Sequence[Ok], tasks: Sequence[RankTask], begin: str
    ) -> dict[str, float]:
        if not (n := len(completions)):
            return {}
        figures = {"thought_tokens": sum(len(self._chat.encode(thought_of(one))) for one in completions) / n}
        if format is None:
            statuses = [read_rewritten(one)[1].status for one in completions]
            return figures | {"well_formed": sum(status == "exact" for status in statuses) / n}
        exact, ranks, pairs = 0, defaultdict(list), []
        for completion, task in zip(completions, tasks, strict=True):
            order, (report,) = ranked(format, [completion], len(task.documents))
            exact += report.status == "exact"
            if report.status == "exact":
                last = max(len(order) - 1, 1)
                for rank, place in enumerate(order):
                    ranks[place].append(rank - last / 2)
                    pairs.append((place / last, rank / last))
        bias = _correlation(pairs)
        if len(ranks) > 1 and self.tell is not None:
            self.tell({f"{begin}rank_by_place": [round(sum(ranks[at]) / len(ranks[at]), 3) for at in sorted(ranks)]})
        return figures | {"well_formed": exact / n} | ({} if math.isnan(bias) else {"position_bias": bias})


def _correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's correlation; NaN where one side does not vary."""
    if len({one for one, _ in pairs}) < 2 or len({other for _, other in pairs}) < 2:
        return math.nan
    n = len(pairs)
    x, y = sum(one for one, _ in pairs) / n, sum(other for _, other in pairs) / n
    xy = sum((one - x) * (other - y) for one, other in pairs)
    return xy / math.sqrt(sum((one - x) ** 2 for one, _ in pairs) * sum((other - y) ** 2 for _, other in pairs))
