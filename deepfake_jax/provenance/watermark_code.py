"""What a watermark carries: 32 bits, a checksum and enough redundancy for bad copies.

48 bits go through a convolutional code of rate 1/6, which gives 336 signs. Any copy in
which the signs are right a little more often than a coin is read without a fault; the
checksum tells that there is something to read at all.

References:
    Forney (1973), The Viterbi algorithm. CRC-16/CCITT, ITU-T V.41.
"""

import functools

import numpy as np
from jaxtyping import Float, Int8, Int64

BITS = 32
_CHECK = 16
_MEMORY = 8
# Generators of the code of constraint length 9 and rate 1/3 that is best by its free
# distance (Larsen 1973), each taken twice: signs are soft, so that this loses nothing.
_GENERATORS = (0o557, 0o663, 0o711) * 2
SIGNS = (BITS + _CHECK + _MEMORY) * len(_GENERATORS)


def encode_payload(payload: int) -> Int8[np.ndarray, "336"]:
    """The signs, 1 or -1, of 32 bits.

    Raises:
        ValueError: a number of more bits.
    """
    if not 0 <= payload < 1 << BITS:
        raise ValueError(f"payload is {payload:#x}; it must have {BITS} bits")
    word = payload << _CHECK | _crc(payload)
    count = BITS + _CHECK
    bits = [word >> (count - 1 - n) & 1 for n in range(count)] + [0] * _MEMORY
    state, signs = 0, []
    for bit in bits:
        state = (state << 1 | bit) & ((1 << _MEMORY + 1) - 1)
        signs += [1 - 2 * ((state & g).bit_count() & 1) for g in _GENERATORS]
    return np.array(signs, np.int8)


def decode_payload(soft: Float[np.ndarray, "336"]) -> int | None:
    """The bits of signs that were read, or None if the checksum is wrong.

    Args:
        soft: positive for 1, negative for -1, larger the surer; only ratios count.
    """
    outputs, before = _trellis()
    states = 1 << _MEMORY
    scores = np.full(states, -np.inf)
    scores[0] = 0.0
    steps = soft.reshape(-1, len(_GENERATORS)).astype(np.float64)
    chosen = np.empty((len(steps), states), np.int8)
    for number, values in enumerate(steps):
        # Of each state, the two that lead to it.
        ways = scores[before] + (outputs @ values)
        chosen[number] = ways.argmax(axis=1)
        scores = ways.max(axis=1)
    state, word = 0, 0
    for number in range(len(steps) - 1, -1, -1):
        if number < BITS + _CHECK:
            word |= (state & 1) << (BITS + _CHECK - 1 - number)
        state = int(before[state, chosen[number, state]])
    payload, check = word >> _CHECK, word & ((1 << _CHECK) - 1)
    return payload if check == _crc(payload) else None


@functools.cache
def _trellis() -> tuple[Int8[np.ndarray, "256 2 6"], Int64[np.ndarray, "256 2"]]:
    """Of each state, the signs of the two ways into it, and where these begin."""
    states = 1 << _MEMORY
    outputs = np.empty((states, 2, len(_GENERATORS)), np.int8)
    before = np.empty((states, 2), np.int64)
    for state in range(states):
        for way in range(2):
            # The bit that leaves the register.
            whole = way << _MEMORY | state
            before[state, way] = whole >> 1
            outputs[state, way] = [
                1 - 2 * ((whole & g).bit_count() & 1) for g in _GENERATORS
            ]
    return outputs, before


def _crc(payload: int) -> int:
    check = 0xFFFF
    for shift in range(24, -8, -8):
        check ^= (payload >> shift & 0xFF) << 8
        for _ in range(8):
            check = check << 1 ^ (0x1021 if check & 0x8000 else 0)
            check &= 0xFFFF
    return check
