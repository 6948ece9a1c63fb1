"""Rerankers and retrievers in the frameworks that people build with; each file is imported by its users alone."""
