"""The answer for one query: its documents with what the model said of each, and how it is shown."""
