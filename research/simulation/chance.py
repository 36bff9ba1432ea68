"""Chance without a state: a draw depends on its key, and on nothing that was drawn before.

Owns the generator. The key is (seed, stream, asset, order number, attempt), so a model that is
switched off leaves the draws of the others as they were, and so does another asset. In the subset
that a compiler takes: products stay below 2^63, since one factor is below 2^32 and the other below
2^31, and Python's integers and 64-bit ones agree.
"""

from typing import Final

MASK: Final = 0xFFFFFFFF
_FIRST: Final = 0x7FEB352D
_SECOND: Final = 0x31848BAB
_THIRD: Final = 0x2C1B3C6D
_GOLDEN: Final = 0x1E3779B9

# Streams, one for each question.
LATENCY_STREAM, JITTER_STREAM, FAILURE_STREAM, PARTIAL_STREAM, FRACTION_STREAM = 1, 2, 3, 4, 5
LOW_HALF, HIGH_HALF = 0x5A5A5A5A, 0x3C6EF372


def mixed(word: int) -> int:
    """Return 32 bits in which each bit of the word has a part: a bijection of 32-bit words.

    Source: the shape is that of Wellons' triple32 (multiply, xor-shift), with factors below 2^31.
    """
    word ^= word >> 17
    word = (word * _FIRST) & MASK
    word ^= word >> 11
    word = (word * _SECOND) & MASK
    word ^= word >> 15
    word = (word * _THIRD) & MASK
    word ^= word >> 14
    return word


def absorbed(state: int, word: int) -> int:
    """Return a state that has taken in another word."""
    return mixed((state + _GOLDEN + (word & MASK)) & MASK) ^ ((word >> 32) & MASK)


def uniform(seed: int, stream: int, asset: int, number: int, attempt: int) -> float:
    """Return a draw from [0, 1), one of 2^53.

    Two chains of 32 bits with keys of their own make the 53 bits.
    """
    high, low = HIGH_HALF, LOW_HALF
    high = absorbed(absorbed(high, seed & MASK), seed >> 32)
    low = absorbed(absorbed(low, seed >> 32), seed & MASK)
    high = absorbed(absorbed(absorbed(absorbed(high, stream), asset), number), attempt)
    low = absorbed(absorbed(absorbed(absorbed(low, attempt), number), asset), stream)
    return float((high << 21) ^ (low >> 11)) * 2.0**-53
