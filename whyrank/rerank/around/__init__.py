"""Rerankers that are made of others: one after another, joined, voting, chosen for each query, or in a time."""
