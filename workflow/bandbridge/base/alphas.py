"""The one name of an alpha: exact decimals without an exponent, in paths, in tables and in metrics.csv."""

import re
from decimal import Decimal

from bandbridge.base.errors import UserError

# What names an alpha in a path: '0', '1', '0.5', '0.00001'.
PATTERN = r"(?:0|1|0\.[0-9]*[1-9])"
# A smaller one changes no float32 weight that matters, and names would get long.
SMALLEST = 1e-9


def alpha_name(alpha: float) -> str:
    """The shortest decimal number that is exactly this alpha: 1e-05 is '0.00001', 1.0 is '1', -0.0 is '0'.

    Two alphas have the same name only where they are equal, and `parse_alpha` leads back.
    """
    # Adding 0.0 takes the sign off a negative zero.
    return format(Decimal(repr(float(alpha) + 0.0)).normalize(), "f")


def parse_alpha(name: str) -> float:
    """The alpha of a name that `alpha_name` made.

    Raises:
        UserError: the name is none of an alpha in [0, 1].
    """
    if not re.fullmatch(PATTERN, name):
        raise UserError(f"'{name}' is not the name of an alpha; expected a decimal number from 0 to 1, such as 0.5")
    return float(name)
