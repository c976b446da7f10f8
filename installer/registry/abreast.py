"""The same question about many things, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

ABREAST: Final = 8
"""How many requests are under way at once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def abreast(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """The results in the order of ``items``. Raises the first failure; what has not begun by then is not begun.

    Each thread takes the next item by itself: a future for every item costs as much as half a request.
    """
    todo = list(items)
    found: dict[int, _Result] = {}
    failures: dict[int, BaseException] = {}
    turns = iter(range(len(todo)))

    def worker() -> None:
        for number in turns:
            if failures:
                return
            try:
                found[number] = work(todo[number])
            except BaseException as error:
                failures[number] = error

    with ThreadPoolExecutor(ABREAST) as pool:
        running = [pool.submit(worker) for _ in range(min(ABREAST, len(todo)))]
        try:
            for one in running:
                one.result()
        except BaseException as error:  # interrupted: the workers must not go on to the end
            failures[-1] = error
    if failures:
        raise failures[min(failures)]
    return [found[number] for number in range(len(todo))]
