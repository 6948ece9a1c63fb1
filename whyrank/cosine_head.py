"""A head for cross-encoders: the cosine of the two halves of a pair, as the model sees them with each other in view.

A module of sentence-transformers, so it is imported only where one is made or loaded (`encoders.py`).
"""

from typing import Any, ClassVar

import torch
from sentence_transformers.base.modules import Module


class CosineHead(Module):  # type: ignore[misc]  # sentence-transformers has no types
    """Score of a pair: scale · cosine of the mean token vectors of query and document.

    Query and document go through the layers together, so that each token sees both; a head of no weights then compares
    the two. A model made from a bi-encoder ranks with it before any training, where a fresh linear head is random.

    Attributes:
        scale: what the cosine is multiplied with; 20 makes of cosines logits of a softmax.
    """

    config_keys: ClassVar[list[str]] = ["scale"]

    def __init__(self, scale: float = 20.0) -> None:
        """No weights are made."""
        super().__init__()
        self.scale = scale

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: ANN401 (its signature there)
        """Add "scores", (pairs, 1), to "token_embeddings" with "attention_mask" and "token_type_ids"."""
        tokens, seen = features["token_embeddings"].float(), features["attention_mask"].bool()
        second = features["token_type_ids"].bool()
        query, document = _mean(tokens, seen & ~second), _mean(tokens, seen & second)
        cosine = torch.nn.functional.cosine_similarity(query, document, dim=-1)
        features["scores"] = self.scale * cosine[:, None]
        return features

    def save(self, output_path: str, *_: Any, **__: Any) -> None:  # noqa: ANN401 (its signature there)
        """Write the scale."""
        self.save_config(output_path)


def _mean(tokens: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    weights = counted.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
