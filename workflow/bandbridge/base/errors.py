"""The one error that is meant for the user's eyes."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend. The message names where, what was found, what was expected and what to do.

    Scripts print it as one paragraph without a traceback; every other exception keeps its traceback.
    """


def did_you_mean(found: object, allowed: Iterable[object]) -> str:
    """' Did you mean ...?' where an allowed value is close to what was found, otherwise an empty string."""
    names = [str(value) for value in allowed]
    same = [name for name in names if name.casefold() == str(found).casefold()]
    close = same or get_close_matches(str(found), names, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
