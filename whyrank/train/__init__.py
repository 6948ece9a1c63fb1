"""Training of reasoning rerankers and rewriters: rewards, SFT and GRPO on TRL; ranking is met through its formats."""
