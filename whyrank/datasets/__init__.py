"""Data sets, one file a family: `load("beir/scifact")`, `load("bright/biology")`, `load("toy")`, `load("./folder")`."""

from whyrank.datasets.catalogue import available, judged_only, load
from whyrank.datasets.family import named_roots, roots

__all__ = ["available", "judged_only", "load", "named_roots", "roots"]
