"""What tests of potentials share, for those of the library and for a user's own. Needs pytest."""

import pytest

pytest.register_assert_rewrite("gnnip.testing.contract")

from gnnip.testing.contract import (  # noqa: E402  (after the line that makes failures readable)
    DOUBLE,
    SINGLE,
    STATISTICS,
    PotentialContract,
    Tolerances,
    variants,
    water,
)

__all__ = [
    "DOUBLE",
    "SINGLE",
    "STATISTICS",
    "PotentialContract",
    "Tolerances",
    "variants",
    "water",
]
