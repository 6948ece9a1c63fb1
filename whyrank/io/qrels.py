"""Judgements as files: TREC's four columns, or BEIR's three, parted by tabs (or, in `.csv`, commas) under a header.

A line that begins with `#` and is no judgement is a comment, as in trec_eval 10.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from whyrank.errors import BadInput
from whyrank.io.files import atomic_write, columns, escape, lines, suffix, unescape
from whyrank.types import LARGEST_GRADE, Qrels

_EXPECTED = "expected: query 0 document grade (TREC), or query, document, grade parted by tabs (BEIR)"
_HEADER = "query-id\tcorpus-id\tscore"
_QUERY = ("query", "qid", "topic")
"""How the first column is called where a file has a header."""


def read_qrels(path: str | Path, aspects: bool = False) -> Qrels:
    """Read judgements, TREC's or BEIR's; the first line tells which. A path that ends in `.gz` is decompressed.

    BEIR's columns may be quoted, as its own reader has it (`"5"" nail"`). Grades may be fractions. A judgement that is
    given twice with the same grade counts once.

    Args:
        path: the file.
        aspects: TREC's second column names an aspect of the query, as in files of the diversity tasks: a document is
            judged once for each. Its grade is the highest of them, and `Qrels.aspects` has them all.

    Raises:
        NotFound: no such file.
        BadInput: naming file and line: another number of fields, a grade that is no number, an empty id, two grades for
            one document, an empty or cut file.
    """
    grades: dict[str, dict[str, float]] = {}
    by_aspect: dict[str, dict[str, dict[str, float]]] = {}
    split: Callable[[str, str], list[str]] | None = None
    for number, line in lines(path):
        where = f"{path}:{number}"
        form = split or _form(line, "," if suffix(path) == ".csv" else "\t", where)
        fields = form(line, where)
        if line.startswith("#") and (len(fields) not in (3, 4) or _grade(fields[-1]) is None):
            continue
        if split is None:
            split = form
            if split is not _trec and _grade(fields[2]) is None and fields[0].lower().startswith(_QUERY):
                continue
        query, document, grade = _judgement(where, line, fields, 4 if split is _trec else 3)
        if aspects:
            if split is not _trec:
                raise BadInput(f"{where}: aspects are TREC's second column, and this file has three columns")
            known = by_aspect.setdefault(query, {}).setdefault(document, {})
            before = known.setdefault(unescape(fields[1]), grade)
            grades.setdefault(query, {})[document] = max(known.values())
        else:
            before = grades.setdefault(query, {}).setdefault(document, grade)
        if before != grade:
            raise BadInput(f"{where}: query {query!r}: document {document!r} has two grades, {before} and {grade}")
    if not grades:
        raise BadInput(f"{path}: the file has no judgements")
    return Qrels(grades, aspects=by_aspect)


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
                parts = (escape(query), "0", escape(document), str(grade))
                file.write((_quoted(query, document, str(grade)) if beir else f"{' '.join(parts)}\n").encode())


def _judgement(where: str, line: str, fields: list[str], wanted: int) -> tuple[str, str, float]:
    if len(fields) != wanted:
        _refuse(where, line, fields, wanted)
    query, document = (fields[0], fields[1]) if wanted == 3 else (unescape(fields[0]), unescape(fields[2]))
    if (grade := _grade(fields[-1])) is None:
        raise BadInput(f"{where}: the grade is {fields[-1]!r:.40}, no number: are columns mixed up? {_EXPECTED}")
    if not query or not document:
        raise BadInput(f"{where}: the {'document' if query else 'query'} id is empty; {_EXPECTED}")
    return query, document, grade


def _form(line: str, separator: str, where: str) -> Callable[[str, str], list[str]]:
    """How the lines of a file are split, told by its first."""

    def beir(line: str, where: str) -> list[str]:
        if '"' not in line:
            return line.split(separator)
        try:
            return next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            raise BadInput(f"{where}: the quotes are not closed, or not doubled within a column ({error})") from None

    return beir if line.count(separator) >= 2 and len(beir(line, where)) == 3 else _trec


def _trec(line: str, where: str) -> list[str]:
    tabbed = line.split("\t")
    return tabbed if len(tabbed) == 4 else columns(line)


def _quoted(*fields: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerow(fields)
    return text.getvalue()


def _grade(text: str) -> float | None:
    """The grade, as `int` where it is whole; None where it is none."""
    try:
        grade = float(text)
    except ValueError:
        return None
    if "_" in text or not abs(grade) <= LARGEST_GRADE:
        return None
    return int(grade) if grade.is_integer() else grade


def _refuse(where: str, line: str, fields: list[str], wanted: int) -> NoReturn:
    hint = "is this a run? " if len(fields) == 6 else ""
    if "," in line and len(fields) == 1:
        hint = "are they parted by commas? Let the file's name end in .csv; "
    raise BadInput(f"{where}: {len(fields)} fields, expected {wanted}: {hint}{_EXPECTED}")
