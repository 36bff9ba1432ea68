"""What holds for every test: no network, no home, and no chance that cannot be repeated.

Chance comes from one seed. It is fixed, so that the suite is the same everywhere. With
``ROS_TEST_PROFILE=thorough`` it is drawn anew, hypothesis looks ten times as far, and the last line
of the run says how to repeat it.
"""

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

FIXED_SEED = 20_261_122
PROFILE = os.environ.get("ROS_TEST_PROFILE", "fixed")
SEED = int(
    os.environ.get("ROS_TEST_SEED") or (FIXED_SEED if PROFILE == "fixed" else secrets.randbits(32))
)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile(
    "thorough", max_examples=1000, deadline=None, database=None, print_blob=True
)


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its own option
def pytest_configure(config: pytest.Config) -> None:
    if PROFILE not in ("fixed", "thorough"):
        raise pytest.UsageError(f"ROS_TEST_PROFILE is {PROFILE!r}; say fixed or thorough")
    hypothesis.settings.load_profile(PROFILE)
    if PROFILE == "thorough" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if PROFILE != "fixed" or SEED != FIXED_SEED:
        terminalreporter.write_line(
            f"chance: repeat with ROS_TEST_PROFILE={PROFILE} ROS_TEST_SEED={SEED}"
        )


@pytest.fixture(scope="session")
def seed() -> int:
    """Give the one seed from which a test may derive all its chance."""
    return SEED


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand in for the caller's home and settings, for this process and its children."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "ROS_", "XDG_")) and not name.startswith("ROS_TEST_"):
                patch.delenv(name)
        for name in (
            "COLUMNS",
            "LINES",
            "NO_COLOR",
            "FORCE_COLOR",
            "CLICOLOR_FORCE",
            "EDITOR",
            "PAGER",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection but to a process on this machine by way of a file."""

    def guard(method: str) -> None:
        original = getattr(socket.socket, method)

        def reach(self: socket.socket, *arguments: object) -> object:
            if self.family == socket.AF_UNIX:
                return original(self, *arguments)
            refuse(arguments[-1])

        patch.setattr(socket.socket, method, reach)

    def refuse(address: object, *_: object, **__: object) -> NoReturn:
        pytest.fail(f"a test reached for the network: {address!r}")

    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            guard(method)
        for question in ("getaddrinfo", "gethostbyname"):
            patch.setattr(socket, question, refuse)
        yield
