"""The mutation operators. Importing this package fills `OPERATORS`."""

from forager.forage.operators import expressions, flow, places
from forager.forage.operators.base import OPERATORS, Change, Operator, Site

__all__ = ["OPERATORS", "Change", "Operator", "Site", "expressions", "flow", "places"]
