"""Progress on work that takes over a second, where standard error is a terminal.

Owns the bars. None is drawn, nor what draws it imported, before the second is over; then it is
drawn whatever the work waits for.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from cli.context import monotonic, terminal

_SECONDS_MIN: Final = 1.0

Counted = Callable[[int, int, int], None]
"""Takes how many are done, how many of them failed, and the total."""


@contextlib.contextmanager
def working(label: str) -> Iterator[None]:
    """Show that something is under way, and for how long it has been."""
    if not terminal().shows_progress:
        yield
        return
    with _Bar(label, "{spinner} {label} {elapsed}").shown():
        yield


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int], None]]:
    """Give a function that takes the bytes done since it was last called."""
    if not terminal().shows_progress:
        yield lambda size: None
        return
    bar = _Bar(label, "{spinner} {label} {bytes} {speed} {elapsed}")

    def advance(size: int) -> None:
        bar.set(completed=bar.completed + size)

    with bar.shown():
        yield advance


@contextlib.contextmanager
def counting(noun: str) -> Iterator[Counted]:
    """Give a function that takes how many are done, how many of them failed, and the total."""
    if not terminal().shows_progress:
        yield lambda done, failed, total: None
        return
    bar = _Bar("", "{bar} {count} {label} {left}")
    began: tuple[float, int] | None = None

    def advance(done: int, failed: int, total: int) -> None:
        nonlocal began
        if began is None:
            began = (monotonic(), done)  # what was known before took no time
        taken = monotonic() - began[0]
        rate = f"{(done - began[1]) / taken:.1f} {noun}/s" if done > began[1] and taken else ""
        told = ", ".join(filter(None, (rate, f"{failed} failed" if failed else "")))
        bar.set(completed=done, total=total, label=told)

    with bar.shown():
        yield advance


class _Bar:
    """A line of columns that appears when the work has taken a while, and leaves no trace."""

    def __init__(self, label: str, layout: str) -> None:
        self._layout = layout.split()
        self._state: dict[str, Any] = {"completed": 0, "total": None, "label": label}
        self._drawn: Any = None
        self._is_over = False
        self._alone = threading.Lock()

    @property
    def completed(self) -> int:
        """How much is done."""
        return int(self._state["completed"])

    def set(self, **state: Any) -> None:
        """Say how the work stands."""
        with self._alone:
            self._state |= state
            if self._drawn is not None:
                self._drawn.update(self._drawn.task_ids[0], **self._state)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Draw it, once the block has taken a second."""
        # By the clock and not by the work: that may wait for a child and tell nothing.
        waiting = threading.Timer(_SECONDS_MIN, self._draw)
        waiting.daemon = True
        waiting.start()
        try:
            yield
        finally:
            waiting.cancel()
            with self._alone:
                self._is_over = True
                if self._drawn is not None:
                    self._drawn.stop()

    def _draw(self) -> None:
        from rich import progress as rich_progress
        from rich.console import Console

        columns: dict[str, Callable[[], rich_progress.ProgressColumn]] = {
            "{spinner}": rich_progress.SpinnerColumn,
            "{label}": lambda: rich_progress.TextColumn("{task.fields[label]}"),
            "{elapsed}": rich_progress.TimeElapsedColumn,
            "{bytes}": rich_progress.DownloadColumn,
            "{speed}": rich_progress.TransferSpeedColumn,
            "{bar}": rich_progress.BarColumn,
            "{count}": rich_progress.MofNCompleteColumn,
            "{left}": rich_progress.TimeRemainingColumn,
        }
        with self._alone:
            if self._is_over:
                return
            bar = rich_progress.Progress(
                *(columns[name]() for name in self._layout),
                console=Console(stderr=True),
                transient=True,
            )
            bar.add_task("", **self._state)
            bar.start()
            self._drawn = bar
