"""Ask a store of many runs what people ask of it, in a fresh process.

    python benchmarks/questions.py ask STORE SEED     opens the store; prints milliseconds
    python benchmarks/questions.py rebuild STORE      makes index.db anew; prints seconds

Prints JSON. It stands alone, so that its start is the store's and nothing else's.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rosdb import NAMES, Store

_WHERE = "metrics.sharpe > 1.5 and params.fast < 20"
_PAGE = 20


def ask(store_path: str, seed: str) -> dict[str, float]:
    """Time each question; return the median milliseconds of each."""
    started = time.perf_counter()
    store = Store.open(store_path)
    assert list(store.runs(limit=1))
    first = (time.perf_counter() - started) * 1000
    chance = random.Random(int(seed))
    known = [row.run_id for row in store.runs(limit=1000)]
    asked = [chance.choice(known) for _ in range(200)]

    def move(turn: int) -> None:
        name = f"{NAMES}moved"
        with store.transaction("a name moves") as tx:
            tx.move_ref(name, asked[turn], expected=store.ref(name))

    def sort(_: int) -> None:
        found = list(store.runs(_WHERE, sort="-metrics.sharpe", limit=_PAGE))
        assert found, "no run was found"

    answers = {
        "first": first,
        "resolve": _median_ms(200, lambda turn: store.resolve(str(asked[turn])[:16])),
        "newest": _median_ms(100, lambda _: list(store.runs(limit=_PAGE))),
        "sort": _median_ms(10, sort),
        "move": _median_ms(50, move),
    }
    store.close()
    return answers


def rebuild(store_path: str) -> dict[str, float]:
    """Time the first question to a store whose index was deleted."""
    for suffix in ("", "-wal", "-shm"):
        Path(store_path, f"index.db{suffix}").unlink(missing_ok=True)
    started = time.perf_counter()
    store = Store.open(store_path)
    assert list(store.runs(limit=1))
    store.close()
    return {"seconds": time.perf_counter() - started}


def _median_ms(count: int, act: Callable[[int], object]) -> float:
    taken = []
    for turn in range(count):
        started = time.perf_counter()
        act(turn)
        taken.append(time.perf_counter() - started)
    return median(taken) * 1000


def main() -> None:
    """Do what the first word says, and print the answer."""
    verb, *words = sys.argv[1:]
    verbs: dict[str, Callable[..., dict[str, float]]] = {"ask": ask, "rebuild": rebuild}
    print(json.dumps(verbs[verb](*words)))


if __name__ == "__main__":
    main()
