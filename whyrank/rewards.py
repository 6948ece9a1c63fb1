"""Rewards for reinforcement learning of rankers and rewriters."""

from whyrank.train.rewards import *  # noqa: F403 (all of it, under the shorter name)
from whyrank.train.rewards import __all__ as __all__
