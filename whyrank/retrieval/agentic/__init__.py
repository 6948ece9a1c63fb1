"""Search by a model that asks a retriever, reads what it finds, and asks again."""
