"""`python -m whyrank` is `whyrank`: for launchers that start modules, as `torchrun -m whyrank` does."""

from whyrank.cli import main

main()
