"""Rerankers and retrievers over HTTP and MCP, in the words that clients speak already."""
