"""Hierarchical search: a tree of clusters over the collection, and a language model that walks down to the answer."""
