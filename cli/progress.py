"""Progress on work that takes over a second, where standard error is a terminal.

Owns the bar. It is not even imported before the second is over.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from cli.context import monotonic, terminal

_SECONDS_MIN: Final = 1.0


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the bytes done since it was last called."""
    if not terminal().shows_progress:
        yield lambda size: None
        return
    bar = _Bar(label)
    try:
        yield bar.advance
    finally:
        bar.close()


@contextlib.contextmanager
def counting(noun: str) -> Iterator[Callable[[int, int, int], None]]:
    """Give a function that takes how many are done, how many of them failed, and the total."""
    if not terminal().shows_progress:
        yield lambda done, failed, total: None
        return
    bar = _Counter(noun)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Counter:
    """A bar of things done, with their rate, the failures and the time left."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._started = monotonic()
        self._shown: Any = None

    def advance(self, done: int, failed: int, total: int) -> None:
        taken = monotonic() - self._started
        if self._shown is None and taken > _SECONDS_MIN:
            self._shown = self._open(total)
        if self._shown is not None:
            rate = f"{done / taken:.1f} {self._noun}/s" + (f", {failed} failed" if failed else "")
            self._shown.update(self._shown.task_ids[0], completed=done, total=total, rate=rate)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _open(self, total: int) -> Any:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bar.add_task(self._noun, total=total, rate="")
        bar.start()
        return bar


class _Bar:
    """A bar that appears when the work has taken a while, and leaves no trace."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._started = monotonic()
        self._done = 0
        self._shown: Any = None

    def advance(self, size: int) -> None:
        self._done += size
        if self._shown is None and monotonic() - self._started > _SECONDS_MIN:
            self._shown = self._open()
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self._done)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import (
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )

        bar = Progress(
            SpinnerColumn(),
            TextColumn(self._label),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bar.add_task(self._label, total=None)
        bar.start()
        return bar
