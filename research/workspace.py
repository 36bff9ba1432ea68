"""The workspace: the folders that people work in, beside the store.

Owns what ``ros init`` makes. The example is a file that a person can read, change and run.
"""

import os
from dataclasses import dataclass
from errno import ENOTDIR
from pathlib import Path
from typing import Final

from rosdb import FOLDER, Store

_EXAMPLE_NAME: Final = "momentum_example.py"
_EXAMPLE: Final = Path(__file__).parent / "experiments" / "example.txt"
_GATES_NAME: Final = "promotion.toml"
_GATES: Final = Path(__file__).parent / "promotion" / "default.toml"
FOLDERS: Final = ("research/experiments", "research/datasets", "configs/strategies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What making a workspace came to."""

    store: Path
    is_new: bool
    written: tuple[Path, ...] = ()


def init(folder: Path, *, bare: bool) -> Made:
    """Make a workspace in a folder; on an existing one, change nothing.

    Raises: StoreUnwritable, NotADirectoryError.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(folder))
    store = folder.absolute() / FOLDER
    if (store / "format").exists():
        return Made(store=store, is_new=False)
    if bare:
        Store.init(store)
        return Made(store=store, is_new=True, written=(store,))
    folders = [store.parent / name for name in FOLDERS]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    example, gates = folders[0] / _EXAMPLE_NAME, store.parent / _GATES_NAME
    for path, given in ((example, _EXAMPLE), (gates, _GATES)):
        if not path.exists():
            path.write_text(given.read_text("utf-8"), "utf-8")
    # Last, for it says that the workspace is made.
    Store.init(store)
    return Made(store=store, is_new=True, written=(store, example, gates, *folders[1:]))
