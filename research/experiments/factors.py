"""The factors: what of a machine an answer may depend on, and how each is changed.

Owns the two lists that the search for causes goes through. The factors are what no run pins, and
``child/held.py`` can hold still; the pinned are variables that every run has at one value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from research.experiments import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """Something that is left to chance, and what an experiment does whose answer changes with it.

    ``tries`` is how often it is changed before it is given up; ``noted`` is how those notes of a
    run begin that speak of it.
    """

    name: str
    word: str
    says: str
    tries: int = 1
    noted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """Variables that belong together, and other values for them."""

    word: str
    others: Mapping[str, str | None]


ADDRESSES: Final = "addresses"
FOLDER: Final = "folder"
FACTORS: Final = (
    Factor(
        name="clock",
        word="clock",
        says="it asks what time it is, or how long something took",
        noted=("the clock",),
    ),
    Factor(
        name="entropy",
        word="entropy",
        says="it draws random numbers that no seed of the run decides",
        noted=("OS entropy", "an unseeded generator"),
    ),
    Factor(
        name=ADDRESSES,
        word="address order",
        says="it depends on where objects lie in memory (id(), the default hash, sets of objects)",
        tries=3,
    ),
    Factor(
        name="threads",
        word="threads",
        says="it depends on which thread comes first, or on the number of cores",
        tries=3,
    ),
    Factor(
        name="listing",
        word="file listing order",
        says="it takes files in the order in which the system lists them",
    ),
    Factor(
        name=FOLDER,
        word="folder",
        says="it depends on the path of the folder that it runs in",
    ),
)

_THREADS: Final = [name for name in environment.VARIABLES if name.endswith("_NUM_THREADS")]
# What makes numpy, OpenBLAS and the C library do without the later instructions.
FEW_INSTRUCTIONS: Final = Pinned(
    word="CPU features",
    others={
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
        " AVX2 FMA3",
        "OPENBLAS_CORETYPE": "Prescott",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
    },
)
PINNED: Final = (
    Pinned(word="hash order", others={"PYTHONHASHSEED": "1"}),
    Pinned(word="time zone", others={"TZ": "NPT-5:45"}),
    Pinned(word="locale", others={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    Pinned(word="thread count", others=dict.fromkeys(_THREADS, "2")),
    FEW_INSTRUCTIONS,
)


def word_of(variable: str) -> str:
    """Name what a variable decides; empty if it is none of those that are pinned."""
    return next((each.word for each in PINNED if variable in each.others), "")
