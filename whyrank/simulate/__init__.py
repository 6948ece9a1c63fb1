"""Simulation: what a reranking strategy costs and finds before a model is paid, with the strategies run for real.

Passages become numbers, the model a judge that knows how much each helps and errs by noise of a stated size; the plans,
the formats, the parsers and the scheduler are those of a real run.
"""

from whyrank.simulate.cases import Case, Profile, from_run
from whyrank.simulate.judge import Noisy, Tokens
from whyrank.simulate.run import Outcome, simulate, table

__all__ = ["Case", "Noisy", "Outcome", "Profile", "Tokens", "from_run", "simulate", "table"]
