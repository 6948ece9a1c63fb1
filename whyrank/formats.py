"""Formats: how rerankers put a question to a model, and read its answer."""

from whyrank.rerank.formats import *  # noqa: F403 (all of it, under the shorter name)
from whyrank.rerank.formats import __all__ as __all__
