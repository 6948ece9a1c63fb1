"""Data for training and probing rerankers: a closed world whose labels follow from its knowledge base."""
