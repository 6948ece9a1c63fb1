"""Judgements as files: TREC's four columns, or BEIR's three, parted by tabs under a header."""

from pathlib import Path
from typing import NoReturn

from whyrank.errors import BadInput
from whyrank.io.files import atomic_write, columns, escape, lines, suffix, unescape
from whyrank.types import LARGEST_GRADE, Qrels

_EXPECTED = "expected: query 0 document grade (TREC), or query, document, grade parted by tabs (BEIR)"
_HEADER = "query-id\tcorpus-id\tscore"


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements, TREC's or BEIR's; the first line tells which. A path that ends in `.gz` is decompressed.

    A judgement that is given twice with the same grade counts once.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: another number of fields, a grade that is no whole number, an empty id, two
            grades for one document, an empty or cut file.
    """
    grades: dict[str, dict[str, int]] = {}
    wanted = 0
    for number, line in lines(path):
        where = f"{path}:{number}"
        tabbed = line.split("\t")
        if not wanted:
            wanted = 3 if len(tabbed) == 3 else 4
            if wanted == 3 and _grade(tabbed[2]) is None and tabbed[0].lower().startswith("query"):
                continue
        fields = tabbed if len(tabbed) == wanted else columns(line) if wanted == 4 else tabbed
        if len(fields) != wanted:
            _refuse(where, fields, wanted)
        query, document = (fields[0], fields[1]) if wanted == 3 else (unescape(fields[0]), unescape(fields[2]))
        grade = _grade(fields[-1])
        if grade is None:
            raise BadInput(f"{where}: the grade is {fields[-1]!r}, no whole number: are columns mixed up? {_EXPECTED}")
        if not query or not document:
            raise BadInput(f"{where}: the {'document' if query else 'query'} id is empty; {_EXPECTED}")
        if (before := grades.setdefault(query, {}).setdefault(document, grade)) != grade:
            raise BadInput(f"{where}: query {query!r}: document {document!r} has two grades, {before} and {grade}")
    if not grades:
        raise BadInput(f"{path}: the file has no judgements")
    return Qrels(grades)


def write_qrels(qrels: Qrels, path: str | Path) -> None:
    """Write judgements in BEIR's form if the path ends in `.tsv`, else in TREC's; compressed if it ends in `.gz`.

    Raises:
        BadInput: an id is empty, or holds a tab or a line end, which BEIR's form has no way to write.
    """
    beir = suffix(path) == ".tsv"
    with atomic_write(path) as file:
        if beir:
            file.write(f"{_HEADER}\n".encode())
        for query, judged in qrels.items():
            for document, grade in judged.items():
                if not query or not document or (beir and any(at in query + document for at in "\t\r\n")):
                    raise BadInput(
                        f"{path}: cannot write query {query!r}, document {document!r}: an id is empty or holds a tab"
                    )
                parts = (query, document, str(grade)) if beir else (escape(query), "0", escape(document), str(grade))
                file.write(("\t" if beir else " ").join(parts).encode() + b"\n")


def _grade(text: str) -> int | None:
    try:
        grade = float(text)
    except ValueError:
        return None
    whole = grade.is_integer() and abs(grade) <= LARGEST_GRADE and "_" not in text
    return int(grade) if whole else None


def _refuse(where: str, fields: list[str], wanted: int) -> NoReturn:
    hint = "is this a run? " if len(fields) == 6 else ""
    raise BadInput(f"{where}: {len(fields)} fields, expected {wanted}: {hint}{_EXPECTED}")
