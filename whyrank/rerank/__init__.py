"""Reranking: put the best candidates of a first stage into a better order, by an encoder or by a reasoning model."""
