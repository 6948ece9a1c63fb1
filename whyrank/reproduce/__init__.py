"""What `whyrank reproduce` makes again: the small model that comes along, and a ranker of real text."""
