"""Data sets, one file a family: `load("beir/scifact")`, `load("bright/biology")`, `load("toy")`, `load("./folder")`."""

from whyrank.datasets.catalogue import available, load
from whyrank.datasets.family import roots

__all__ = ["available", "load", "roots"]
