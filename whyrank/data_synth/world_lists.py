"""The closed world as lists to rank: RankTasks with a teacher's thought, and data sets to search and to rerank."""

import random
from collections.abc import Sequence
from itertools import chain

from whyrank.data_synth.world import Level, Need, Split, Statement, World, WorldQuestion
from whyrank.errors import NotFound
from whyrank.types import Query, RankTask


class WorldLists:
    """Draws lists of one level from a world: questions, each with a few documents that help and many that do not.

    Of those that do not, a share are traps in the words of the question; the others say what helps against something
    else, most of them in the same place, or deny what would help.
    """

    def __init__(self, world: World, level: Level) -> None:
        """Sort the documents of `world` by what they say."""
        self.world, self.level = world, level
        self._places: dict[tuple[str, str], list[str]] = {}
        self._denials: dict[str, list[str]] = {}
        self._told: dict[str, list[str]] = {}
        for id, said in world.statements.items():
            for key, table in ((said.denied, self._denials), *((word, self._told) for word in said.shared)):
                if key:
                    table.setdefault(key, []).append(id)
            if said.principle:
                self._places.setdefault((said.principle, said.context), []).append(id)

    def draw(self, split: Split, n: int, seed: int = 0) -> list[RankTask]:
        """`n` tasks with different questions, spread evenly over the level's hops (above 1 in `composed`).

        Raises:
            NotFound: the split has fewer questions.
        """
        draw = random.Random(f"{self.world.seed} {split} {n} {seed}")
        hops = [count for count in self.level.hops if count > 1 or split != "composed"]
        tasks = []
        for at, count in enumerate(hops):
            pool = [*self.world.questions(split, (count,))]
            wanted = n // len(hops) + (at < n % len(hops))
            if wanted > len(pool):
                raise NotFound(f"the split {split!r} has {len(pool)} questions of {count} hops, not {wanted}")
            tasks += [
                self.task(question, draw, f"h{count}-{number}")
                for number, question in enumerate(draw.sample(pool, wanted))
            ]
        draw.shuffle(tasks)
        return tasks

    def task(self, question: WorldQuestion, draw: random.Random, id: str = "q") -> RankTask:
        """A list for one question; `source` has hops, the share of traps among what does not help, and the question."""
        level = self.level
        size, share = draw.randint(level.shortest, level.longest), draw.choice(level.traps)
        taken = self._mixed(question, size, draw) if level.balanced else self._few(question, size, share, draw)
        ids = sorted(taken)
        draw.shuffle(ids)
        if level.sorted and draw.random() < level.sorted:
            ids.sort(key=lambda id: draw.gauss(0, 0.5) - self.world.grade(question, self.world.statements[id]))
        return self.listed(question, ids, draw, id, share)

    def listed(
        self, question: WorldQuestion, ids: Sequence[str], draw: random.Random, id: str = "q", share: float = 0.0
    ) -> RankTask:
        """The task of ranking these documents of the world for one question; `share` as `task` says."""
        said = [self.world.statements[id] for id in ids]
        thought, marks = self.think(question, said, draw)
        text = self.world.ask(question, draw)
        book = f"{self.world.handbook()}\n\n" if self.level.handbook else ""
        return RankTask(
            Query(id, book + text),
            tuple(self.world.documents[id] for id in ids),
            {id: self.world.grade(question, one) for id, one in zip(ids, said, strict=True)},
            tuple(sorted(ids, key=lambda id: -marks[ids.index(id)])),
            thought,
            {"hops": question.hops, "traps": share, "question": list(question)},
        )

    def think(self, question: WorldQuestion, said: Sequence[Statement], draw: random.Random) -> tuple[str, list[int]]:
        """A teacher's thought, and the grades that it comes to; with `noise` some verdicts and grades are wrong.

        The chain of facts comes first. Then of each document: its word for what helps, what that stands for and whether
        it is what is needed, what its place stands for and whether that is the one asked about, and the grade, with the
        number again where there is something to rank: it is close at hand then when the ranking is written.

            goblet: vessel; wistful: longing; vessel longing: lattice; up in the hills: mountain
            [1] trellis lattice yes sea no 1 [1]
            [2] nothing 0
        """
        need = self.world.need(question)
        lines, marks = [chain_of(need)], []
        for number, one in enumerate(said, start=1):
            helps = (one.principle == need.principle) != (draw.random() < self.level.noise)
            there = (one.context == need.context) != (draw.random() < self.level.noise)
            marks.append(0 if not (helps and one.principle) else 2 if there else 1)
            verdicts = f"{one.noun} {one.principle} {_yes(helps)} {one.context} {_yes(there)}"
            ranked = f" [{number}]" if marks[-1] else ""
            lines.append(f"[{number}] {verdicts if one.principle else 'nothing'} {marks[-1]}{ranked}")
        return "\n".join(lines), marks

    def _few(self, question: WorldQuestion, size: int, share: float, draw: random.Random) -> set[str]:
        """Few documents that help, and many that do not, a `share` of them traps."""
        need = self.world.need(question)
        right, elsewhere, near = self._places[need.principle, need.context], self._partial(need), self._near(question)
        best = draw.randint(1, min(self.level.best, size, len(right)))
        partial = draw.randint(0, min(self.level.partial, size - best, len(elsewhere)))
        chosen = {*draw.sample(right, best)}
        chosen |= {*draw.sample(elsewhere, partial)}
        chosen |= {*draw.sample(near, min(round((size - best - partial) * share), len(near)))}
        while len(chosen) < size:
            chosen.add(draw.choice(self._wrong(need, draw)))
        return chosen

    def _mixed(self, question: WorldQuestion, size: int, draw: random.Random) -> set[str]:
        """Documents of all kinds alike."""
        need, chosen = self.world.need(question), set[str]()
        best, partial, near = self._places[need.principle, need.context], self._partial(need), self._near(question)
        while len(chosen) < size:
            pool = draw.choice((best, partial, near, self._wrong(need, draw), self._wrong(need, draw)))
            chosen.add(draw.choice(pool))
        return chosen

    def _partial(self, need: Need) -> list[str]:
        places = (place for place in self.world.places if place != need.context)
        return [*chain.from_iterable(self._places[need.principle, place] for place in places)]

    def _near(self, question: WorldQuestion) -> list[str]:
        """Traps that share words with the question, those that share most first."""
        shared = [*self._told.get(question.sign, ()), *self._told[question.context]]
        shared += self._told[question.thing] if not question.owner else []
        counts: dict[str, int] = {}
        for id in shared:
            counts[id] = counts.get(id, 0) + 1
        return sorted(counts, key=lambda id: -counts[id])[:40]

    def _wrong(self, need: Need, draw: random.Random) -> list[str]:
        """Documents that help with something else: half in the same place, a quarter with a denial of what helps."""
        kind = draw.random()
        if kind < 0.25 and (denials := self._denials.get(need.principle)):
            return denials
        other = draw.choice([name for name in self.world.nouns if name != need.principle])
        return self._places[other, need.context if kind < 0.75 else draw.choice([*self.world.places])]


def chain_of(need: Need) -> str:
    """The steps from the words of a question to what it needs, in one line.

    Examples:
        >>> chain_of(Need("rope", "night", (("kettle", "vessel"), ("hum", "envy"), ("vessel envy", "rope"))))
        'kettle: vessel; hum: envy; vessel envy: rope'
    """
    return "; ".join(f"{known}: {follows}" for known, follows in need.steps)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
