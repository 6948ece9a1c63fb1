"""A small shop of our own for tests of recommendation: what is bought next follows from series and from taste."""

import random
from pathlib import Path

SERIES = ("comet", "lantern", "harbour", "orchard", "glacier", "meadow")
PARTS = 10


def clicks(users: int = 60, seed: int = 7) -> list[tuple[str, str, int]]:
    """(user, item, time): each user goes on in one or two series, and now and then takes something else."""
    chance = random.Random(seed)
    rows = []
    for user in range(users):
        own, time = chance.sample(range(len(SERIES)), 2), 1_600_000_000 + chance.randrange(86400 * 300)
        at = [chance.randrange(PARTS) for _ in own]
        for _ in range(chance.randrange(5, 14)):
            which = chance.randrange(2)
            other = chance.random() < 0.15
            item = chance.randrange(len(SERIES) * PARTS) if other else own[which] * PARTS + at[which]
            at[which] = (at[which] + 1) % PARTS
            rows.append((f"u{user}", f"i{item}", time))
            time += chance.choice((0, 3600, 86400))
    return list(dict.fromkeys(rows))


def title(item: int) -> str:
    """What an item is called."""
    return f"{SERIES[item // PARTS]}, volume {item % PARTS + 1}"


def write(folder: Path, rows: list[tuple[str, str, int]] | None = None) -> Path:
    """Write clicks.csv and items.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    told = clicks() if rows is None else rows
    (folder / "clicks.csv").write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in told))
    items = (f'i{at},"{title(at)}",{SERIES[at // PARTS]}\n' for at in range(len(SERIES) * PARTS))
    (folder / "items.csv").write_text("item,title,brand\n" + "".join(items))
    return folder
