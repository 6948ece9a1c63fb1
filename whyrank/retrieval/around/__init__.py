"""Retrievers that are made of others: fused, fed back, or of a collection in shards."""
