"""How a published model was shown its texts: what was done to titles, white space and long passages, step by step."""

import re
from dataclasses import dataclass
from typing import Literal

from whyrank.errors import need
from whyrank.fields import Positive
from whyrank.llm.messages import Tokenizer
from whyrank.registry import Part

Title = Literal["none", "blank", "always", "stop", "content"]
White = Literal["kept", "joined", "lines"]
Labels = Literal["kept", "round", "letters"]


@dataclass(frozen=True)
class Texts(Part):
    """What is done to a text before it stands in a prompt, in this order: title, strip, mend, white space, cut, labels.

    Attributes:
        title: how a passage's title stands before its text: "none" leaves it out, "blank" is `title text`, "stop"
            `title. text`, "content" `Title: title Content: text`; "always" is `title text` with the blank also where
            there is no title, as of collections in which every passage has a field for it.
        strip: whether blanks at both ends are taken off.
        mend: whether mojibake is mended, by ftfy's `fix_text`.
        white: "joined" makes all white space single blanks, "lines" makes runs of line breaks blanks.
        without: what is taken out of the text then, wherever it stands.
        words: longer texts are cut to so many words, and their white space is joined.
        characters: longer texts are cut to so many characters.
        tokens: every text is what the tokenizer decodes of its first tokens, so many at most.
        before: what the template has in front of the text, where that counts among the tokens, such as "document: ".
        labels: "round" writes `[3]` as `(3)`; "letters" writes `[A]`, `[up]` and the like as `(A)`, `(up)`.
    """

    title: Title = "none"
    strip: bool = False
    mend: bool = False
    white: White = "kept"
    without: str = ""
    words: Positive | None = None
    characters: Positive | None = None
    tokens: Positive | None = None
    before: str = ""
    labels: Labels = "kept"

    def prepared(self, text: str, title: str = "", words: int | None = None) -> str:
        """The text, but for what only a tokenizer can cut.

        Args:
            text: what it says.
            title: its title, or an empty text.
            words: how many words are kept, where not `self.words`.

        Raises:
            MissingExtra: ftfy is not installed, and `mend` wants it: nothing else mends the same.
        """
        text = titled(self.title, title, text)
        text = text.strip() if self.strip else text
        if self.mend:
            text = str(need("ftfy", extra="templates", asked_by="texts(mend=True)").fix_text(text))
        if self.white == "lines":
            text = _LINES.sub(" ", text)
        kept = self.words if words is None else words
        if self.white == "joined" or kept is not None:
            text = " ".join(text.split())
        if self.without:
            text = text.replace(self.without, "")
        if kept is not None:
            text = " ".join(text.split()[:kept])
        text = text[: self.characters]
        return text if self.tokens is not None else self.labelled(text)

    def cut(self, text: str, tokenizer: Tokenizer | None, room: int | None = None) -> str:
        """A prepared text, cut to its tokens, and to the `room` there is; without a tokenizer it stays as it is."""
        bounds = [bound for bound in (self.tokens, room) if bound is not None]
        if bounds and tokenizer is not None:
            text = decoded(self.before + text, max(min(bounds), 0), tokenizer)[len(self.before) :]
        return text if self.tokens is None else self.labelled(text)

    def count(self, text: str, tokenizer: Tokenizer) -> int:
        """The tokens of a text, with what is in front of it."""
        return len(tokenizer.encode(self.before + text))

    def labelled(self, text: str) -> str:
        """The text without what could be taken for a label."""
        pattern = _LABELS.get(self.labels)
        return text if pattern is None else pattern.sub(r"(\1)", text)


def decoded(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """What a tokenizer makes of the first tokens of a text; a character that is cut in two leaves U+FFFD."""
    return tokenizer.decode(tokenizer.encode(text)[:tokens])


def titled(how: Title, title: str, text: str) -> str:
    """A text with its title in front, where there is one.

    Example:
        >>> titled("content", "Bees", "They dance."), titled("content", "", "They dance.")
        ('Title: Bees Content: They dance.', 'They dance.')
    """
    if how == "always":
        return f"{title} {text}"
    return _TITLED[how].format(title=title, text=text) if title and how != "none" else text


_TITLED = {"blank": "{title} {text}", "stop": "{title}. {text}", "content": "Title: {title} Content: {text}"}
_LINES = re.compile(r"\n+")
_LABELS = {"round": re.compile(r"\[(\d+)\]"), "letters": re.compile(r"\[([A-z]+)\]")}
