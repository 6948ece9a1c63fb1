"""Rewriters: ask a model, or a file, for a better query; `Rewritten` searches with it."""

from whyrank.retrieval.rewrite import *  # noqa: F403 (all of it, under the shorter name)
from whyrank.retrieval.rewrite import __all__ as __all__
