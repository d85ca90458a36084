"""What an artifact computes on the way from its inputs to its outputs, and which tensors it gives its operators.

Runners make traces; `hnexport.parity.locate` and the checks of weights compare them.
"""

from hnexport.parity.trace.observed import Call, Given, Trace

__all__ = ["Call", "Given", "Trace"]
