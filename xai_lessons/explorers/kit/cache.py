"""A bounded cache, for what explorers keep between two computations."""

from __future__ import annotations

from typing import Any


class Cache(dict[Any, Any]):
    """A dict that keeps the entries that were set last.

    Args:
        most: how many are kept.

    Example:
        >>> cache = Cache(2)
        >>> for n in range(4):
        ...     cache[n] = n**2
        >>> cache
        {2: 4, 3: 9}
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        if len(self) > self.most:
            del self[next(iter(self))]
