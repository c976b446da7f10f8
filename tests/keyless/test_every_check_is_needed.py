"""No check of a keyless signature stands in the shadow of another: without it, some test of its refusals fails."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

import pytest

from tests.keyless import test_form, test_refusals, test_root
from tests.keyless.instance import Instance
from tests.keyless.judging import PAYLOAD
from tests.vectors.disarm import Check, checks, disarmed

MODULES = ("keyless", "keylessform", "sigstorefields", "sigstoreroot", "subject")


def calls(fixtures: dict[str, Any]) -> Iterator[Callable[[], object]]:
    """Every test of refusals, as pytest would call it."""
    for module in (test_form, test_refusals, test_root):
        for name, function in vars(module).items():
            if isinstance(function, FunctionType) and name.startswith("test_"):
                yield from (partial(function, **given) for given in arguments(function, fixtures))


def arguments(function: FunctionType, fixtures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sets: list[list[dict[str, Any]]] = []
    for mark in getattr(function, "pytestmark", []):
        names = mark.args[0] if isinstance(mark.args[0], tuple) else (mark.args[0],)
        rows = (row if isinstance(mark.args[0], tuple) else (row,) for row in mark.args[1])
        sets.append([dict(zip(names, row, strict=True)) for row in rows])
    wanted = inspect.signature(function).parameters
    for chosen in itertools.product(*sets):
        given: dict[str, Any] = {}
        for row in chosen:
            given |= row
        if set(wanted) <= set(given) | set(fixtures):
            yield {name: given.get(name, fixtures.get(name)) for name in wanted}


def shows(check: Check, tests: list[Callable[[], object]]) -> bool:
    with disarmed(check):
        for test in tests:
            try:
                test()
            except (Exception, pytest.fail.Exception):
                return True
    return False


@pytest.mark.parametrize("name", MODULES)
def test_some_refusal_needs_each_check(
    name: str, instance: Instance, second_version: Instance, stranger: Instance
) -> None:
    good = Instance().sign(PAYLOAD, timestamp=True).value()
    fixtures = {"instance": instance, "second_version": second_version, "stranger": stranger, "good": good}
    tests = list(calls(fixtures))
    assert len(tests) > 80
    found = checks(importlib.import_module(f"installer.bundle.{name}"))
    assert found
    idle = {str(check) for check in found if not shows(check, tests)}
    assert idle == set()
    for test in tests:
        test()
