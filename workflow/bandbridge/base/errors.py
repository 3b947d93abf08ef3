"""The error that is meant for users."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class UserError(Exception):
    """An error the user can fix. The message states where, what was found, what was expected and what to do.

    Scripts print it as one paragraph without a traceback; every other exception keeps its traceback.
    """


def did_you_mean(value: object, allowed: Iterable[object]) -> str:
    """' Did you mean ...?' if an allowed value is close to `value`, otherwise an empty string."""
    names = [str(option) for option in allowed]
    same = [name for name in names if name.casefold() == str(value).casefold()]
    close = same or get_close_matches(str(value), names, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def choices(value: object, allowed: Collection[str]) -> str:
    """'a, b, c.' of the allowed values, and which of them may have been meant by `value`: the end of a sentence."""
    return f"{', '.join(allowed)}.{did_you_mean(value, allowed)}"
