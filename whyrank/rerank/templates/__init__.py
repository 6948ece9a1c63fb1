"""Prompts of published models, read from where their authors publish them; what is known of these models, as data."""
