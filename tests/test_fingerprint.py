"""A collection is known by its content: any order is the same, any edit is another."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrank.datasets.lazy import LazyCorpus
from whyrank.errors import NotFound
from whyrank.types import Corpus, Document, Fingerprint

texts = st.text(max_size=5)
documents = st.lists(
    st.builds(Document, id=st.text("ab:,1", min_size=1, max_size=3), text=texts, title=texts),
    unique_by=lambda document: document.id,
    max_size=6,
)


def of(some: list[Document]) -> str:
    return Corpus(some).fingerprint


@given(documents, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(some, random):
    assert of(random.sample(some, len(some))) == of(some)


@given(documents)
def test_documents_are_records_of_id_title_and_text(some):
    found = Fingerprint()
    for document in some:
        found.add(document.id, document.title, document.text)
    assert str(found) == of(some)


@given(documents, documents)
def test_equal_fingerprints_are_equal_collections(one, other):
    assert (of(one) == of(other)) == ({d.id: d for d in one} == {d.id: d for d in other})


@given(documents, st.data())
def test_sets_can_be_joined_and_gone_on_with(some, data):
    cut = data.draw(st.integers(0, len(some)))
    first, second = Fingerprint(), Fingerprint()
    assert [*first.watch(some[:cut]), *second.watch(some[cut:])] == some
    again = Fingerprint.read(str(first))
    again.join(second)
    assert str(again) == of(some)
    third = Fingerprint.read(str(first))
    assert [*third.watch(Corpus(some[cut:]))] == some[cut:] and str(third) == of(some)


@pytest.mark.parametrize("edit", [{"id": "d"}, {"text": "an b"}, {"title": ""}, {"text": "b ", "title": "a"}])
def test_any_edit_is_another_collection(edit):
    kept, document = Document("k", "kept"), Document("d1", "b", "an")
    assert of([kept, replace(document, **edit)]) != of([kept, document])


def test_fields_do_not_run_into_each_other():
    assert of([Document("d", "bc", "a")]) != of([Document("d", "c", "ab")])
    assert of([Document("d1", "x")]) != of([Document("d", "x", "1")])


def test_no_document_twice_is_none():
    """A sum of hashes, where a difference of them would let pairs vanish."""
    twice = Fingerprint()
    twice.add("d", "x")
    twice.add("d", "x")
    assert str(twice) not in (str(Fingerprint()), of([Document("d", "x")]))


def test_a_collection_that_is_read_late_has_the_same_one():
    some = [Document("d1", "bees"), Document("d2", "ants")]
    assert LazyCorpus(lambda: Corpus(some)).fingerprint == of(some)

    def gone() -> Corpus:
        raise NotFound("not here")

    assert LazyCorpus(gone).fingerprint == of([])


@pytest.mark.parametrize("text", ["", "12", "1:xyz", "x:12", ":"])
def test_what_is_no_fingerprint_is_refused(text):
    with pytest.raises(ValueError):
        Fingerprint.read(text)
