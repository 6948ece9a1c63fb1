"""Ways to put candidates in order: a model is asked about lists, sets, pairs or single passages, or an encoder."""
