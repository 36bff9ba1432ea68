"""Work on all cores: tasks that only read, spread over forked processes.

Owns the forking and the way back. Threads would wait for each other at every call into C that takes
microseconds, and a store is verified by millions of those. A process that has threads must not be
forked, nor one on a system whose libraries forbid it: there the tasks run one after another.
"""

import contextlib
import os
import pickle
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from rosdb import disk

T = TypeVar("T")
R = TypeVar("R")

_SIZE: Final = struct.Struct("<Q")
_INDEX: Final = struct.Struct("<i")
_END: Final = -1


def spread(work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """Return what ``work`` makes of each task, in no order. It must change nothing outside itself.

    Results travel by pickle. What a task raises is raised here, and the other tasks are dropped.
    """
    count = min(disk.core_count(), len(tasks))
    if count < 2 or sys.platform != "linux" or threading.active_count() > 1:
        yield from map(work, tasks)
        return
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_Worker(work, tasks, workers))
        waiting = iter(range(len(tasks)))
        for worker in workers:
            worker.give(next(waiting))
        busy = {worker.results: worker for worker in workers}
        poll = select.poll()
        for worker in workers:
            poll.register(worker.results, select.POLLIN)
        while busy:
            for ready, _ in poll.poll():
                result = busy[ready].take()
                index = next(waiting, _END)
                busy[ready].give(index)
                if index == _END:
                    del busy[ready]
                    poll.unregister(ready)
                yield result
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A forked process, and our ends of the two pipes to it."""

    def __init__(self, work: Callable[[T], R], tasks: Sequence[T], others: "list[_Worker]") -> None:
        theirs_in, self._requests = os.pipe()
        self.results, theirs_out = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                # An end of a pipe is one only if nobody else holds a copy of the other.
                for other in [*others, self]:
                    other.close()
                with contextlib.suppress(OSError):  # the parent has dropped what is left
                    _serve(theirs_in, theirs_out, work, tasks)
                status = 0
            finally:
                os._exit(status)  # nothing of the parent's is closed or flushed twice
        os.close(theirs_in)
        os.close(theirs_out)

    def give(self, index: int) -> None:
        os.write(self._requests, _INDEX.pack(index))

    def take(self) -> Any:
        size = _SIZE.unpack(_receive(self.results, _SIZE.size))[0]
        result, error = pickle.loads(_receive(self.results, size))
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        os.close(self._requests)
        os.close(self.results)

    def end(self) -> None:
        self.close()
        os.waitpid(self._pid, 0)


def _serve(requests: int, results: int, work: Callable[[T], R], tasks: Sequence[T]) -> None:
    while (head := os.read(requests, _INDEX.size)) and (index := _INDEX.unpack(head)[0]) != _END:
        try:
            result: tuple[R | None, Exception | None] = work(tasks[index]), None
        except Exception as error:
            result = None, error
        data = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        view = memoryview(_SIZE.pack(len(data)) + data)
        while view:
            view = view[os.write(results, view) :]


def _receive(line: int, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        part = os.read(line, size - len(data))
        if not part:
            raise ChildProcessError("a process that verified has died")
        data += part
    return data
