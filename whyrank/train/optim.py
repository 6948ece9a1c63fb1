"""The optimizer: AdamW, or Muon for matrices with AdamW for the rest."""

from collections.abc import Iterable
from typing import Any

from whyrank.errors import BadInput, need
from whyrank.train.config import Optimizer

WARMED = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine_with_min_lr",
          "wsd": "warmup_stable_decay"}  # fmt: skip


def schedule(config: Optimizer, steps: int) -> dict[str, Any]:
    """The learning rate's course over `steps`, as arguments of TRL's trainers."""
    options: dict[str, Any] = {}
    if config.schedule == "cosine":
        options = {"min_lr_rate": config.min_lr}
    if config.schedule == "wsd":
        options = {"num_decay_steps": max(1, round(config.decay * steps)), "min_lr_ratio": config.min_lr}
    return {
        "learning_rate": config.lr,
        "lr_scheduler_type": WARMED[config.schedule],
        "lr_scheduler_kwargs": options,
        "warmup_steps": round(config.warmup * steps),
        "max_grad_norm": config.max_grad_norm,
    }


def optimizer(model: Any, config: Optimizer, decayed: Iterable[str]) -> Any:
    """The optimizer of `model`'s trainable parameters; of those that AdamW trains, the `decayed` ones lose weight.

    Muon (Jordan, 2024) takes every matrix but embeddings and head, and scales its updates to the size of AdamW's
    (2502.16982, 2025), so that one learning rate serves both.
    """
    torch = need("torch", extra="train")
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [name for name, weight in trained if weight.ndim == 2 and not _of_vocabulary(name)]
    by_muon, names = set(matrices if config.name == "muon" else ()), set(decayed)
    if config.name == "muon" and not by_muon:
        raise BadInput("optimizer: the model has no matrices for 'muon': take 'adamw'")
    groups = [
        {"params": [one for name, one in trained if name not in by_muon and (name in names) == decays],
         "weight_decay": config.weight_decay * decays}
        for decays in (True, False)
    ]  # fmt: skip
    rate = config.lr if config.lr_rest is None or not by_muon else config.lr_rest
    fused = all(weight.device.type in {"cuda", "cpu"} for _, weight in trained)
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=rate, betas=tuple(config.betas), fused=fused or None
    )
    if not by_muon:
        return adamw
    muon = torch.optim.Muon(
        [weight for name, weight in trained if name in by_muon],
        lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    return _side_by_side(torch, muon, adamw)


def _of_vocabulary(name: str) -> bool:
    return any(part in name for part in ("embed", "lm_head", "wte", "wpe"))


def _side_by_side(torch: Any, *parts: Any) -> Any:
    """Several optimizers as one, which schedulers, accelerate and checkpoints treat as any other."""

    class SideBySide(torch.optim.Optimizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                [weight for part in parts for group in part.param_groups for weight in group["params"]], {}
            )
            self._link()

        def _link(self) -> None:
            self.param_groups = [group for part in parts for group in part.param_groups]

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self, closure: Any = None) -> Any:
            loss = None if closure is None else closure()
            for part in parts:
                part.step()
            return loss

        def state_dict(self) -> dict[str, Any]:
            return {"parts": [part.state_dict() for part in parts]}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            for part, one in zip(parts, state["parts"], strict=True):
                part.load_state_dict(one)
            self._link()

    return SideBySide()
