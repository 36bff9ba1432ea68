"""The peers: other people's tools, each as the commands that a user would type.

Owns what each is told: its usual settings, no network, no work left running in the background.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from benchmarks.instruments import Command, answer_of, clean_environment, seconds_of
from benchmarks.tool import Place

_ASKED_DVC: Final = os.environ.get("DVC") or "dvc"
# Found here, for it is started in another folder.
DVC_PROGRAM: Final = os.path.abspath(shutil.which(_ASKED_DVC) or _ASKED_DVC)


class Restic:
    """restic, with its encryption, which it has no way to leave out."""

    is_durable = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._environment = clean_environment(
            place.home,
            RESTIC_REPOSITORY=str(place.repository),
            RESTIC_PASSWORD="benchmark",
            RESTIC_CACHE_DIR=str(place.home / "cache"),
        )

    def version(self) -> str:
        """Name the release."""
        return " ".join(answer_of(self._command("version")).split()[:2])

    def create(self) -> None:
        """Make a repository of its present format, which compresses."""
        seconds_of(self._command("init"))

    def put(self, name: str) -> list[Command]:
        """Back up; the tag finds it again."""
        return [self._command("backup", "--quiet", "--tag", name, name)]

    def restore(self, name: str) -> list[Command]:
        """Restore the newest backup with that tag."""
        target = str(self._place.restored)
        return [self._command("restore", "--quiet", "latest", "--tag", name, "--target", target)]

    def verify(self) -> list[Command]:
        """Check the structure and read all data."""
        return [self._command("check", "--quiet", "--read-data")]

    def _command(self, *words: str) -> Command:
        return Command(
            words=("restic", *words), folder=self._place.source, environment=self._environment
        )


class Borg:
    """borg without encryption, its fastest setting."""

    is_durable = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._put_count = 0
        self._newest: dict[str, str] = {}
        self._environment = clean_environment(
            place.home,
            BORG_REPO=str(place.repository),
            BORG_BASE_DIR=str(place.home),
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
        )

    def version(self) -> str:
        """Name the release and the one setting."""
        release = answer_of(self._command("--version", folder=self._place.home)).strip()
        return f"{release}, --encryption=none"

    def create(self) -> None:
        """Make a repository without encryption."""
        seconds_of(self._command("init", "--encryption=none", folder=self._place.home))

    def put(self, name: str) -> list[Command]:
        """Make an archive, compressed with lz4 as it does by itself."""
        self._put_count += 1
        self._newest[name] = f"::put-{self._put_count}"
        return [self._command("create", self._newest[name], name, folder=self._place.source)]

    def restore(self, name: str) -> list[Command]:
        """Extract the newest archive, which it does into the present folder."""
        return [self._command("extract", self._newest[name], folder=self._place.restored)]

    def verify(self) -> list[Command]:
        """Check the structure and read all data."""
        return [self._command("check", "--verify-data", folder=self._place.home)]

    def _command(self, *words: str, folder: Path) -> Command:
        return Command(words=("borg", *words), folder=folder, environment=self._environment)


class Git:
    """git without the repacking that it would start in the background.

    As it comes it compresses and syncs no loose object. Durable, it syncs everything, in batches,
    and compresses nothing, so that it is not the slower for it.
    """

    def __init__(self, place: Place, *, is_durable: bool) -> None:
        self.is_durable = is_durable
        self._place = place
        self._durability = ["core.compression=0", "core.fsync=all", "core.fsyncMethod=batch"]
        settings = ["user.name=benchmark", "user.email=benchmark@invalid", "gc.auto=0"]
        settings += ["maintenance.auto=false", *(self._durability if is_durable else [])]
        self._words = ("git", *(word for setting in settings for word in ("-c", setting)))

    def version(self) -> str:
        """Name the release, and the settings where it is not as it comes."""
        release = answer_of(self._command("version")).strip()
        return f"{release}, {' '.join(self._durability)}" if self.is_durable else release

    def create(self) -> None:
        """Make a repository beside the source, which is its work tree."""
        seconds_of(self._command("init", "--quiet"))

    def put(self, name: str) -> list[Command]:
        """Add and commit. To store what is unchanged is a commit too, as it is for the others."""
        return [
            self._command("add", "--all", "--", name),
            self._command("commit", "--quiet", "--allow-empty", "--message", name),
        ]

    def restore(self, name: str) -> list[Command]:
        """Check out into another work tree."""
        return [self._command("checkout", "HEAD", "--", name, tree=self._place.restored)]

    def verify(self) -> list[Command]:
        """Check links and hash every object."""
        return [self._command("fsck", "--full", "--no-progress")]

    def _command(self, *words: str, tree: Path | None = None) -> Command:
        tree = self._place.source if tree is None else tree
        environment = clean_environment(
            self._place.home,
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_DIR=str(self._place.repository),
            GIT_WORK_TREE=str(tree),
        )
        return Command(words=(*self._words, *words), folder=tree, environment=environment)


class Dvc:
    """DVC, with its cache in the workspace and without git. It syncs nothing."""

    is_durable = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._environment = clean_environment(
            place.home, DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(place.home / "site")
        )

    def version(self) -> str:
        """Name the release."""
        return f"dvc {answer_of(self._command('--version')).strip()}"

    def create(self) -> None:
        """Make the source a workspace that calls nobody."""
        seconds_of(self._command("init", "--no-scm", "--quiet"))
        for setting in ("core.analytics", "core.check_update"):
            seconds_of(self._command("config", setting, "false"))

    def put(self, name: str) -> list[Command]:
        """Add, into the cache."""
        return [self._command("add", "--quiet", name)]

    def restore(self, name: str) -> list[Command]:
        """Check out beside a copy of the description, for it writes nowhere else."""
        description = self._place.restored / f"{name}.dvc"
        shutil.copyfile(self._place.source / description.name, description)
        return [self._command("checkout", "--quiet", str(description))]

    def verify(self) -> list[Command]:
        """Give nothing: there is no command that reads the cache again."""
        return []

    def _command(self, *words: str) -> Command:
        return Command(
            words=(DVC_PROGRAM, *words), folder=self._place.source, environment=self._environment
        )
