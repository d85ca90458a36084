"""What a member costs in runs of the plain network in float32, where somebody timed it."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Costs"]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """As `hnexport.bench.costs.read_costs` reads them.

    Attributes:
        told: whose members were timed, and how, in words.
        provider: on which.
        runs: plain float32 runs that a member costs, by what `hnexport bench` calls such members.
    """

    told: str
    provider: str
    runs: Mapping[str, float]

    def of(self, timed_as: str, provider: str) -> float | None:
        """What one member costs; None where such members were not timed there."""
        return self.runs.get(timed_as) if provider == self.provider else None

    def missing(self, timed_as: str, provider: str) -> str:
        """That such members were not timed there, and how they are; "" where they were."""
        if self.of(timed_as, provider) is not None:
            return ""
        if not timed_as:
            return f"`hnexport bench` does not compare members of this precision on {provider} with float32"
        return (
            f"{timed_as} on {provider} was not timed (`hnexport bench BUNDLE --json --provider {provider} --against "
            f"plain,{timed_as}` does)"
        )
