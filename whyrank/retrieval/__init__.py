"""First-stage retrieval: from a whole collection to a pool of candidates."""
