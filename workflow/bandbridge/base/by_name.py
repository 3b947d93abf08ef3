"""Calling a function with what its parameters are named after."""

from collections.abc import Callable, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Function = TypeVar("Function", bound=Callable[..., Any])


def call_by_name(function: Callable[..., Answer], values: Mapping[str, Any]) -> Answer:
    """Call a function with the values that have the names of its parameters; others are left out.

    A parameter without a default and without a value is an error of Python's, which names it.
    """
    return function(**{name: values[name] for name in _parameters(function) if name in values})


def with_signature(function: Function) -> Function:
    """The same function with its signature at hand: Snakemake asks for it several times for each job."""
    function.__signature__ = signature(function)  # type: ignore[attr-defined]
    return function


@cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return tuple(name for name, parameter in signature(function).parameters.items() if parameter.kind in kinds)
