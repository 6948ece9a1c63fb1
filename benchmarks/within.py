"""How the strategies of `within(llm, calls=N)` were chosen: a search on the simulator, and a check on held-back cases.

Run: OMP_NUM_THREADS=1 python benchmarks/within.py search, and python benchmarks/within.py check
Takes about a quarter of an hour on one core. WHYRANK_DATA names the folder with the data, for TREC DL.

Searched are strategies that ask for orders of at most 20 passages, so that one model and one format serve them all, of
one or two stages, each on the best of the one before. The profile is that of docs/simulate.md (100 candidates, 5 %
relevant, first stage .476) under fresh noise of .15 and of .3, both with a shared error of .1. Each spec gets 40
queries, the best five 150 others; from 50 calls on nine specs get 30. Held back are another size, other shares of
relevant candidates, other first stages, other noise, a judge that favours early places, and the BM25 runs of TREC DL
2019 and 2020 with their graded qrels; beside it stands what sliding windows of as many calls find.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

from whyrank.datasets import load
from whyrank.simulate import Case, Noisy, Outcome, Profile, from_run, simulate

BUDGETS = (1, 5, 10, 20, 50, 100)
NOISES = (Noisy(0.15, 0.1), Noisy(0.3, 0.1))
HELD_BACK: dict[str, tuple[Callable[[], list[Case]], Noisy]] = {
    "50 candidates, 10 % relevant, first stage .6": (Profile(50, 0.1, 0.6).cases, Noisy(0.2, 0.1)),
    "100, 2 %, .35": (Profile(100, 0.02, 0.35).cases, Noisy(0.2, 0.1)),
    "100, 15 %, .5": (Profile(100, 0.15, 0.5).cases, Noisy(0.25, 0.05)),
    "100, 5 %, .476, early places favoured": (Profile().cases, Noisy(0.15, 0.1, position=0.15)),
    "trec_dl/dl19, BM25": (lambda: real("trec_dl/dl19"), Noisy(0.2, 0.1)),
    "trec_dl/dl20, BM25": (lambda: real("trec_dl/dl20"), Noisy(0.2, 0.1)),
}


def real(name: str) -> list[Case]:
    """The candidates of a data set with its qrels."""
    data = load(name)
    assert data.candidates is not None
    return from_run(data.candidates, data.qrels)


def whole(calls: int) -> Iterator[str]:
    """Strategies of one stage that take at most so many calls."""
    depth = min(10 * (calls + 1), 100)
    yield f"cascade(listwise(fake()), depths=({depth},))"
    yield from (f"cascade({spec}, depths=({shown},))" for spec, shown in openers(calls))
    for shown, own in ((20, 1), (40, 3), (60, 5), (100, 9)):
        if calls // own > 1:
            yield f"cascade(consensus(listwise(fake()), shuffles={calls // own}), depths=({shown},))"


def openers(calls: int) -> Iterator[tuple[str, int]]:
    """What may come first: at most so many calls on so many candidates."""
    sizes = ((40, 3, 6), (60, 5, 9), (80, 7, 11), (100, 9, 13))
    for depth, own, games in sizes:
        if own <= calls:
            yield "merge_tree(fake())", depth
        if games <= calls:
            yield f"tournament(fake(), repeats={calls // games})", depth
        if depth // 20 < calls:
            yield f"adaptive(fake(), calls={calls}, min_uncertain=2)", depth


def composed(calls: int) -> Iterator[str]:
    """Two stages: an opening on many candidates, then several shuffles or tournaments of the best."""
    for share in (0.2, 0.4, 0.6, 0.8):
        first = round(calls * share)
        left = calls - first
        for one, shown in openers(first):
            for best, own in ((20, 1), (30, 2)):
                shuffles = f"consensus(listwise(fake()), shuffles={left // own})"
                if shown >= 60 and left // own > 1:
                    yield f"cascade({one}, {shuffles}, depths=({shown}, {best}))"
            if shown >= 60 and 5 <= left <= 12:
                yield f"cascade({one}, adaptive(fake(), calls={left}, min_uncertain=2), depths=({shown}, 30))"


def many(calls: int) -> Iterator[str]:
    """For large budgets a few of what did well with small ones, as they take long to simulate."""
    yield f"cascade(tournament(fake(), repeats={calls // 13}), depths=(100,))"
    yield f"cascade(consensus(merge_tree(fake()), shuffles={calls // 9}), depths=(100,))"
    for first in (6, 10, 20):
        for best, own in ((20, 1), (30, 2)):
            shuffles = f"consensus(listwise(fake()), shuffles={(calls - first) // own})"
            yield f"cascade(adaptive(fake(), calls={first}, min_uncertain=2), {shuffles}, depths=(100, {best}))"
    games, shuffles = calls // 26, f"consensus(listwise(fake()), shuffles={calls - 13 * (calls // 26)})"
    yield f"cascade(tournament(fake(), repeats={games}), {shuffles}, depths=(100, 20))"


def by_spec(specs: Sequence[str], cases: Sequence[Case]) -> list[tuple[float, list[Outcome]]]:
    """Specs with the mean of what they reached over noises, the best first."""
    outcomes = simulate(specs, cases, NOISES)
    each = [outcomes[at : at + len(NOISES)] for at in range(0, len(outcomes), len(NOISES))]
    return sorted(((sum(one.mean for one in some) / len(some), some) for some in each), key=lambda pair: -pair[0])


def search() -> None:
    """Print the best specs of each budget."""
    for calls in budgets():
        specs = list(dict.fromkeys([*whole(calls), *composed(calls)] if calls <= 20 else many(calls)))
        found = by_spec(specs, Profile().cases(200, seed=1)[: 40 if calls <= 20 else 30])
        if calls <= 20:
            found = by_spec([some[0].spec for _, some in found[:5]], Profile().cases(150, seed=2))
        print(f"\n{calls} calls: {len(specs)} specs")
        for value, some in found:
            costs = f"{some[0].cost('calls'):.1f} calls, {some[0].cost('rounds'):.1f} rounds"
            print(f"  {value:.4f} ±{some[0].margin:.3f}  {costs:26}  {some[0].spec}", flush=True)


def budgets() -> Sequence[int]:
    """Those of the command line, or all."""
    return [int(one) for one in sys.argv[2:]] or BUDGETS


def check() -> None:
    """Print what `within` gains on held-back cases."""
    print(f"| held back | first stage | {' | '.join(map(str, budgets()))} |")
    print(f"|---|---|{'---|' * len(budgets())}")
    for name, (cases, noise) in HELD_BACK.items():
        drawn, cells = cases()[:60], []
        for calls in budgets():
            specs = [f"within(fake(), calls={calls})", f"cascade({sliding(calls)})"]
            ours, theirs = simulate(specs, drawn, [noise])
            cells.append(f"{ours.mean:.3f} ({theirs.mean:.3f})")
        print(f"| {name} | {ours.first.mean():.3f} | {' | '.join(cells)} |", flush=True)


def sliding(calls: int) -> str:
    """Sliding windows of 20 in steps of 10, over as many candidates and as often as the calls allow."""
    depth, passes = min(10 * (calls + 1), 100), max(calls // 9, 1)
    return f"{', '.join(['listwise(fake())'] * passes)}, depths=({f'{depth}, ' * passes})"


if __name__ == "__main__":
    {"search": search, "check": check}[sys.argv[1]]()
