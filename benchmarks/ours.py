"""The driver of our own store: one command, one process, as the other tools have it.

    python benchmarks/ours.py init STORE
    python benchmarks/ours.py put STORE NAME PATH       a commit: a snapshot, and its ref moved
    python benchmarks/ours.py restore STORE NAME FOLDER
    python benchmarks/ours.py check STORE

It stands alone, so that its start-up is the store's and nothing else's.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosdb import DATASETS, Store, put_files, put_folder, write_folder


def init(store_path: str) -> None:
    """Make a store."""
    Store.init(Path(store_path)).close()


def put(store_path: str, name: str, source_path: str) -> None:
    """Commit a file or a folder as the next version of a dataset."""
    store, source = Store.open(store_path), Path(source_path)
    version = str(1 + sum(1 for _ in store.refs(f"{DATASETS}{name}/")))
    with store.transaction(f"put {name}") as tx:
        is_folder = source.is_dir()
        files = put_folder(tx, source) if is_folder else put_files(tx, {source.name: source})
        fields: dict[str, Any] = {
            "name": name,
            "version": version,
            "source": "benchmark",
            "created_at": "2026-01-01",
            "schema": None,
            "checksums": {},
            "parser": None,
            "file_count": 0,
            "size_bytes": 0,
        }
        snapshot = tx.put_record("snapshot/v1", fields, {"files": files})
        tx.move_ref(f"{DATASETS}{name}/{version}", snapshot, expected=None)
    store.close()


def restore(store_path: str, name: str, folder: str) -> None:
    """Write the newest version of a dataset below a folder."""
    store = Store.open(store_path)
    newest = store.newest_ref(f"{DATASETS}{name}/")
    assert newest is not None, f"no version of {name}"
    files = store.get_record(newest[1]).links["files"]
    write_folder(store, files, Path(folder))
    store.close()


def check(store_path: str) -> None:
    """Verify everything; end with a status if anything is wrong."""
    store = Store.open(store_path)
    report = store.check()
    store.close()
    if not report.ok:
        sys.exit(f"damaged: {report.damaged[:3]} missing: {report.missing[:3]} {report.journal}")


def main() -> None:
    """Do what the first word says."""
    verb, *words = sys.argv[1:]
    verbs: dict[str, Callable[..., None]] = {
        "init": init,
        "put": put,
        "restore": restore,
        "check": check,
    }
    verbs[verb](*words)


if __name__ == "__main__":
    main()
