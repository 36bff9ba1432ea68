"""What the tests of the store share: a store whose clock and user are their own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosdb import Link, Store, disk, merge

WHO = "ana@desk"
START_NS = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True, scope="module")
def _unsynced() -> Iterator[None]:
    """Wait for no disk: a sync matters to a power cut, and no test cuts the power.

    That the syncs are asked for, and in what order, ``test_transaction.py`` holds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "sync", lambda handle: None)
        patch.setattr(disk, "sync_folder", lambda folder: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def _merges_early() -> Iterator[None]:
    """Merge eight of a kind, not sixteen: twice as many merges, and what they break shows sooner.

    That the store merges sixteen, ``test_merge.py`` holds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "FAN_IN", 8)
        patch.setattr(merge, "_MAGNITUDE_BITS", 3)
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the folder of an empty store."""
    folder = tmp_path / ".ros"
    Store.init(folder).close()
    return folder


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[[], Store]]:
    """Give a way to open the store again and again, as another process would."""
    opened: list[Store] = []
    ticks = itertools.count(START_NS, 1_000)

    def open_() -> Store:
        opened.append(Store.open(path, who=WHO, now_ns=lambda: next(ticks)))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def put_run() -> Callable[..., Link]:
    """Give a way to record a run as the experiments do: run, running, completed or failed."""
    serial = itertools.count(1)

    def put(
        store: Store,
        *,
        experiment: str = "sma",
        parameters: dict[str, object] | None = None,
        metrics: dict[str, object] | None = None,
        status: str = "completed",
        name: str | None = None,
        dataset: tuple[str, str] | None = ("sp500", "1"),
        kind: str = "run",
        seconds: float | None = 1.5,
    ) -> Link:
        number = next(serial)
        with store.transaction(f"run {experiment}") as tx:
            recipe = tx.put_record(
                "recipe/v1",
                {"experiment": experiment, "parameters": parameters or {}, "seed": 42},
            )
            run = tx.put_record(
                "run/v1",
                {
                    "created_at_ns": START_NS + number,
                    "process": number,
                    "kind": kind,
                    "dataset": dataset and {"name": dataset[0], "version": dataset[1]},
                },
                {"recipe": recipe},
            )
            tx.move_ref(f"runs/{run}", run, expected=None)
            if name is not None:
                tx.move_ref(f"names/{name}", run, expected=None)
        if status == "pending":
            return run
        with store.transaction(status) as tx:
            links = {"run": run}
            if status == "completed":
                links["outcome"] = tx.put_record("outcome/v1", {"metrics": metrics or {}})
            fields = {"status": status, "seconds": seconds if status != "running" else None}
            state = tx.put_record("status/v1", fields, links)
            tx.move_ref(f"runs/{run}", state, expected=run)
        return run

    return put
