"""A closed world in which relevance has to be reasoned out, and words mislead.

Things have moods. A question tells what a thing does ("Why does my kettle shudder after dark?"). What it does tells its
mood, its mood and the kind of thing tell what helps, and documents say what helps where, in words that no question
uses: "Trust ballast by starlight; it seldom fails." Most other documents are traps, told in the words of the questions.
Which symptom comes of which mood, and what helps, is drawn from a seed: it can be looked up nowhere else, and the
grades of all documents follow from it.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from typing import Annotated, Literal, NamedTuple, get_args
from zlib import crc32

from whyrank.data_synth import world_words as words
from whyrank.errors import BadInput
from whyrank.fields import AtMost, Between, Declared, Length, NotNegative, Positive, Share
from whyrank.types import Document

Split = Literal["train", "test", "unseen", "composed"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""`train`; `test`: other questions of the same making; `unseen`: situations in contexts where training never saw them;
`composed`: symptoms of kinds of things in which training never saw them, so that two known facts meet anew."""


@dataclass(frozen=True)
class Level(Declared):
    """How hard the world's lists are.

    Attributes:
        hops: what the questions leave to be worked out. 1: they name the mood, so that only what helps against it has
            to be known. 2: they tell a symptom, which tells the mood. 3: they tell a symptom, and whose thing it is.
        contexts: how many contexts there are, 2 to 16.
        shortest: the fewest documents of a list.
        longest: the most documents of a list.
        best: at most so many documents of grade 2 in a list; at least one.
        partial: at most so many documents of grade 1 in a list.
        traps: shares of what does not help that are told in the words of the question; each list draws one.
        noise: how many of the verdicts in the teacher's thoughts are wrong, a share. Grades stay right.
        handbook: put all that is known of the world before each question, for models that were not trained on it.
        balanced: draw each document of a list from all kinds alike, so that there may be none that helps: for drills.
        sorted: a share of the lists stand in an order like that of a search: what helps most first, with some errors.
    """

    hops: Annotated[tuple[Literal[1, 2, 3], ...], Length(1)] = (1, 2, 3)
    contexts: Annotated[int, Between(2, len(words.CONTEXTS))] = 8
    shortest: Positive = 5
    longest: Annotated[int, AtMost(100)] = 10
    best: Positive = 2
    partial: NotNegative = 2
    traps: Annotated[tuple[Share, ...], Length(1)] = (0.25, 0.5, 0.75)
    noise: Share = 0.0
    handbook: bool = False
    balanced: bool = False
    sorted: Share = 0.0

    def __post_init__(self) -> None:
        """Refuse lists of no length."""
        if self.shortest > self.longest:
            raise BadInput(f"Level: shortest must be at most longest ({self.longest}), not {self.shortest}")


LEVELS: Mapping[str, Level] = {
    "base": Level(),
    "plain": Level(hops=(2,)),
    "deep": Level(hops=(3,)),
    "long": Level(shortest=20, longest=20),
    "sparse": Level(shortest=20, longest=20, best=1, partial=1),
    "wide": Level(contexts=16, shortest=20, longest=20),
    "open": Level(shortest=20, longest=20, handbook=True),
}
"""Levels by name; `plain` is the easiest, `sparse` and `wide` leave the most headroom, `open` is for any model."""


class WorldQuestion(NamedTuple):
    """A question as facts.

    Attributes:
        hops: 1, 2 or 3, see `Level`.
        sign: what the thing does (hops 2 and 3), or the word for its mood (hops 1).
        owner: whose thing it is (hops 3), else "".
        thing: what it is.
        context: where.
    """

    hops: int
    sign: str
    owner: str
    thing: str
    context: str


class Statement(NamedTuple):
    """What a document says; empty where it says nothing of the kind.

    Attributes:
        principle: what helps.
        context: where it does.
        noun: its word for that.
        denied: the principle that it names as no help.
        shared: the words of questions that a trap is told in: a thing, a sign and a context.
    """

    principle: str = ""
    context: str = ""
    noun: str = ""
    denied: str = ""
    shared: tuple[str, ...] = ()


class Need(NamedTuple):
    """What a question needs, and how that is worked out: `steps` are (from what, follows what)."""

    principle: str
    context: str
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class World:
    """The knowledge base of one seed, its questions and its documents.

    Attributes:
        seed: of all that is arbitrary in it; the same seed gives the same world on every machine.
        contexts: how many contexts there are.
    """

    seed: int = 0
    contexts: int = 8

    @cached_property
    def kind_of(self) -> dict[str, str]:
        """The kind of each thing."""
        return {thing: kind for kind, things in words.KINDS.items() for thing in things.split()}

    @cached_property
    def thing_of(self) -> dict[str, str]:
        """The thing that each keeper owns."""
        return dict(zip(words.KEEPERS.split(), self._shuffled("things", self.kind_of), strict=True))

    @cached_property
    def mood_of(self) -> dict[str, str]:
        """The mood behind each word for a symptom, and behind each word for a mood."""
        symptoms, moods = self._shuffled("symptoms", words.SYMPTOMS.split()), [*self.said]
        shown = {verb: moods[at % len(moods)] for at, both in enumerate(symptoms) for verb in both.split("/")}
        return shown | {word: mood for mood, both in self.said.items() for word in both}

    @cached_property
    def said(self) -> dict[str, tuple[str, ...]]:
        """How one says each mood."""
        pairs = (entry.split(":") for entry in words.CAUSES.split())
        return {mood: tuple(both.split("/")) for mood, both in pairs}

    @cached_property
    def symptom_of(self) -> dict[str, str]:
        """The symptom that a verb stands for, by the first of its two words."""
        return {verb: both.split("/")[0] for both in words.SYMPTOMS.split() for verb in both.split("/")}

    @cached_property
    def nouns(self) -> dict[str, tuple[str, ...]]:
        """The three words for each principle, by the first."""
        return {three.split("/")[0]: tuple(three.split("/")) for three in words.PRINCIPLES.split()}

    @cached_property
    def principle_of(self) -> dict[tuple[str, str], str]:
        """What helps against each mood of each kind of thing."""
        pairs = product(self.said, words.KINDS)
        return dict(zip(pairs, self._shuffled("principles", self.nouns), strict=True))

    @cached_property
    def places(self) -> dict[str, tuple[str, str, str]]:
        """The phrases for each context: the questions' own, and the documents' two."""
        return dict([*words.CONTEXTS.items()][: self.contexts])

    def need(self, question: WorldQuestion) -> Need:
        """What helps, where, and the chain of facts that leads there."""
        kind, mood = self.kind_of[question.thing], self.mood_of[question.sign]
        principle = self.principle_of[mood, kind]
        owned = ((question.owner, question.thing),) if question.owner else ()
        steps = (*owned, (question.thing, kind), (question.sign, mood), (f"{kind} {mood}", principle))
        return Need(principle, question.context, (*steps, (self.places[question.context][0], question.context)))

    def grade(self, question: WorldQuestion, said: Statement) -> int:
        """2: says what helps, in the context asked about; 1: what helps, in another; 0: anything else."""
        need = self.need(question)
        return 0 if said.principle != need.principle else 2 if said.context == need.context else 1

    def questions(self, split: Split, hops: tuple[int, ...] = (1, 2, 3)) -> Iterator[WorldQuestion]:
        """All questions of a split, in a fixed order; the four splits have none in common."""
        for count in hops:
            signs = [*chain(*self.said.values())] if count == 1 else [*self.symptom_of]
            owners = [*self.thing_of.items()] if count == 3 else [("", thing) for thing in self.kind_of]
            for sign, (owner, thing), context in product(signs, owners, self.places):
                if self.split_of(question := WorldQuestion(count, sign, owner, thing, context)) == split:
                    yield question

    def split_of(self, question: WorldQuestion) -> Split | None:
        """The split that a question belongs to; None for one that would be new in both ways at once."""
        known = self.symptom_of.get(question.sign, self.mood_of[question.sign])
        unseen = self._context_kept_from[known] == question.context
        composed = question.hops > 1 and self._kind_kept_from.get(known) == self.kind_of[question.thing]
        if unseen or composed:
            return None if unseen and composed else "unseen" if unseen else "composed"
        return "train" if crc32(" ".join([str(self.seed), *map(str, question)]).encode()) % 20 else "test"

    @cached_property
    def documents(self) -> dict[str, Document]:
        """The corpus: every principle in every context six times, three of them with a word for another, and traps."""
        return {id: Document(id, text) for id, (text, _) in self._corpus.items()}

    @cached_property
    def statements(self) -> dict[str, Statement]:
        """What each document of the corpus says."""
        return {id: said for id, (_, said) in self._corpus.items()}

    def ask(self, question: WorldQuestion, draw: random.Random) -> str:
        """A question in words."""
        subject = f"what the {question.owner} owns" if question.owner else f"my {question.thing}"
        does = f"feel {question.sign}" if question.hops == 1 else question.sign
        place = self.places[question.context][0]
        return draw.choice(words.QUESTIONS).format(
            subject=subject, does=does, context=place, Context=place[0].upper() + place[1:]
        )

    def answer(self, need: Need) -> str:
        """What documents that answer say, in one sentence: all words for the principle and for the context."""
        first, second, third = self.nouns[need.principle]
        one, other = self.places[need.context][1:]
        return f"{_upper(first)}, {second}, {third}: trust {first}, {second} or {third} {one}, {other}."

    def handbook(self) -> str:
        """All that is known of the world, a fact a line."""
        facts = [f"A {thing} is a kind of {kind}." for thing, kind in self.kind_of.items()]
        facts += [f"The {owner} owns a {thing}." for owner, thing in self.thing_of.items()]
        facts += [
            f"Things that {sign} do so from {mood}." for sign, mood in self.mood_of.items() if sign in self.symptom_of
        ]
        facts += [f"What feels {sign} suffers from {mood}." for mood, both in self.said.items() for sign in both]
        facts += [
            f"Against the {mood} of a kind of {kind} help {', '.join(self.nouns[name])}."
            for (mood, kind), name in self.principle_of.items()
        ]
        facts += [f"'{asked}' means the same as '{one}' and '{two}'." for asked, one, two in self.places.values()]
        return "\n".join(facts)

    @cached_property
    def _context_kept_from(self) -> dict[str, str]:
        """The one context in which training never sees a symptom or a mood."""
        draw = random.Random(f"{self.seed} contexts")
        return {known: draw.choice([*self.places]) for known in (*dict.fromkeys(self.symptom_of.values()), *self.said)}

    @cached_property
    def _kind_kept_from(self) -> dict[str, str]:
        """The kind of thing in which training never sees a symptom; one symptom of each mood has one."""
        draw = random.Random(f"{self.seed} kinds")
        by_mood: dict[str, list[str]] = {}
        for symptom in dict.fromkeys(self.symptom_of.values()):
            by_mood.setdefault(self.mood_of[symptom], []).append(symptom)
        return {draw.choice(symptoms): draw.choice([*words.KINDS]) for symptoms in by_mood.values()}

    @cached_property
    def _corpus(self) -> dict[str, tuple[str, Statement]]:
        draw = random.Random(f"{self.seed} documents")
        texts = [*self._advice(draw), *self._traps(draw)]
        draw.shuffle(texts)
        return {f"d{at:04}": made for at, made in enumerate(texts)}

    def _advice(self, draw: random.Random) -> Iterator[tuple[str, Statement]]:
        for principle, context in product(self.nouns, self.places):
            others = [name for name in self.nouns if name != principle]
            for noun, denies in product(self.nouns[principle], (False, True)):
                denied, place = draw.choice(others), draw.choice(self.places[context][1:])
                text = draw.choice(words.CONTRAST if denies else words.PLAIN).format(
                    noun=noun,
                    Noun=_upper(noun),
                    other=draw.choice(self.nouns[denied]),
                    place=place,
                    Place=_upper(place),
                )
                yield text, Statement(principle, context, noun, denied if denies else "")

    def _traps(self, draw: random.Random) -> Iterator[tuple[str, Statement]]:
        felt = [(draw.choice(both), "feel ") for both in self.said.values()]
        shown = [(draw.choice(both.split("/")), "") for both in words.SYMPTOMS.split()]
        for thing, (sign, feel) in product(self.kind_of, [*felt, *shown]):
            context, keeper = draw.choice([*self.places]), draw.choice([*self.thing_of])
            asked, does = self.places[context][0], feel + sign
            text = draw.choice(words.TRAPS).format(
                thing=thing, does=does, keeper=keeper, context=asked, Context=_upper(asked)
            )
            yield (
                text.replace(" a organ", " an organ").replace("A organ", "An organ"),
                Statement(shared=(thing, sign, context)),
            )

    def _shuffled(self, what: str, items: Iterable[str]) -> list[str]:
        listed = [*items]
        random.Random(f"{self.seed} {what}").shuffle(listed)
        return listed


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
