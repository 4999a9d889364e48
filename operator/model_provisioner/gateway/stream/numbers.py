"""A set of small numbers in few bytes: which downloads a stream has sent. `progress` has one for each stream."""


class NumberSet:
    """One bit for each number from 0 to the highest. 1,500 numbers take 200 bytes, a `set` of them 64 KiB."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, number: int) -> bool:
        at, bit = divmod(number, 8)
        return at < len(self._bits) and bool(self._bits[at] >> bit & 1)

    def add(self, number: int) -> None:
        at, bit = divmod(number, 8)
        self._bits.extend(bytes(max(0, at + 1 - len(self._bits))))
        self._bits[at] |= 1 << bit
