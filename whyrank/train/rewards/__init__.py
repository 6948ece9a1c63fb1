"""Rewards for reinforcement learning of rankers and rewriters, for TRL and verl; see docs/rewards.md."""

from whyrank.train.rewards.adapters import ForTRL, ForVerl, task_of
from whyrank.train.rewards.base import AnyReward, Each, Given, Reward, completion_of, formats_of, text_of, values_of
from whyrank.train.rewards.grades import ERank, GroupRank, RetroStar
from whyrank.train.rewards.lists import (
    NDCG,
    REARANK,
    LogRank,
    MultiView,
    NDCGGain,
    OrderReward,
    PrefixLadder,
    RankLadder,
    RankR1,
    RankR1List,
    TFRank,
)
from whyrank.train.rewards.process import (
    Cost,
    Mix,
    SelfNormLength,
    SolLength,
    WellFormed,
    step_rewards,
    steps_of,
)
from whyrank.train.rewards.rewriters import EmbeddingGain, EngineGain, MeasureGain, NewDocuments, OnTarget

__all__ = [
    "NDCG", "REARANK", "AnyReward", "Cost", "ERank", "Each", "EmbeddingGain", "EngineGain", "ForTRL", "ForVerl",
    "Given", "GroupRank", "LogRank", "MeasureGain", "Mix", "MultiView", "NDCGGain", "NewDocuments", "OnTarget",
    "OrderReward", "PrefixLadder", "RankLadder", "RankR1", "RankR1List", "RetroStar", "Reward",
    "SelfNormLength", "SolLength", "TFRank", "WellFormed", "completion_of", "formats_of", "step_rewards", "steps_of",
    "task_of", "text_of", "values_of",
]  # fmt: skip
