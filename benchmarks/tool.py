"""A tool: what is asked of each that stores, and where it works.

What a method does itself is preparation and not timed; the commands that it returns are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.instruments import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tool works."""

    source: Path
    """What it stores."""
    repository: Path
    """Where it keeps it; what stands here is weighed."""
    home: Path
    """Its caches and settings, which are not."""
    restored: Path
    """Where it writes what it gives back."""


class Tool(Protocol):
    """What is asked of a tool. A name is a file or a folder in the place's source."""

    is_durable: bool
    """Whether it syncs what it stores before it says that it is stored."""

    def version(self) -> str:
        """Say which release this is, and how it is set."""

    def create(self) -> None:
        """Make the repository."""

    def put(self, name: str) -> list[Command]:
        """Store the present content."""

    def restore(self, name: str) -> list[Command]:
        """Write the newest content to the place for it."""

    def verify(self) -> list[Command]:
        """Read everything again and check it; no command if the tool cannot."""
