"""Does a store keep the promise? Reads every run of a workflow with its history, and reports what breaks a rule.

Part of the product: the tests that kill processes use it, and so can an operator, on a production store in use.
"""

from .report import Duties, Report, verify
from .rules import Graph, Rule, Violation, check_history

__all__ = ["Duties", "Graph", "Report", "Rule", "Violation", "check_history", "verify"]
