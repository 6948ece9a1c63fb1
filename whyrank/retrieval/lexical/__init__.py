"""Search by words: analysis, the inverted index and its scoring, and Lucene."""
