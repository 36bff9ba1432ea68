"""What questions share, known again within one process while nothing has changed.

Owns the look at what a base was built from: every file of its code, every folder that was searched
for it, the workspace's options, the folders of installed packages, by their times as the file
system tells them. It is trusted only if all are older than the clock of a file system is coarse, as
git trusts its index; a change of any makes the base anew. The dataset is looked up each time.
"""

import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from research.context import Context, packages_path
from research.experiments import options
from research.experiments.recipe import Base, build_base, snapshot_of
from rosdb import Store, Transaction

_COARSE_NS: Final = 2 * 10**9
_FOLDERS_MAX: Final = 500

_Mark = tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    base: Base
    marks: dict[str, _Mark]


_known: weakref.WeakKeyDictionary[Store, dict[tuple[str, str | None, Path], _Known]] = (
    weakref.WeakKeyDictionary()
)


def recall(context: Context, experiment_id: str, dataset: str | None) -> Base | None:
    """Return the base of questions that were asked before, if it would be the same today."""
    found = _known.get(context.store, {}).get((experiment_id, dataset, context.workspace))
    if found is None or any(_mark(path) != mark for path, mark in found.marks.items()):
        return None
    snapshot = snapshot_of(context, found.base.spec, dataset)
    before = found.base.snapshot
    same = (snapshot and snapshot.link) == (before and before.link)
    return found.base if same else None


def build(context: Context, tx: Transaction, experiment_id: str, dataset: str | None) -> Base:
    """Build a base, and know it again.

    Raises: BadInput and NotThere in all their kinds.
    """
    began = context.now_ns()
    folders = _folders(context)
    base = build_base(context, tx, experiment_id, dataset)
    paths = {str(path) for path in base.code.paths.values()}
    paths |= {os.path.dirname(path) for path in paths}
    paths |= {str(context.workspace / options.FILE), *packages_path(), *folders}
    marks = {path: _mark(path) for path in sorted(paths)}
    is_settled = all(mark is None or max(mark[2:]) < began - _COARSE_NS for mark in marks.values())
    bases = _known.setdefault(context.store, {})
    key = (experiment_id, dataset, context.workspace)
    if is_settled and len(folders) < _FOLDERS_MAX:
        bases[key] = _Known(base=base, marks=marks)
    else:
        bases.pop(key, None)
    return base


def _folders(context: Context) -> list[str]:
    """List the folders in which a module of the workspace may appear."""
    root = str(context.experiments_folder)
    return [root, *_first(_below(root), _FOLDERS_MAX)]


def _below(root: str) -> Iterator[str]:
    for folder, names, _ in os.walk(root):
        names[:] = [name for name in names if name != "__pycache__"]
        yield from (os.path.join(folder, name) for name in names)


def _first(paths: Iterable[str], count: int) -> Iterator[str]:
    return (path for path, _ in zip(paths, range(count), strict=False))


def _mark(path: str) -> _Mark:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
