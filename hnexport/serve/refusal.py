"""What a request is answered with where it is not computed."""

from collections.abc import Mapping

from hnexport.errors import HnexportError

__all__ = ["RefusedError", "unavailable"]

_RETRY_AFTER_S = 1


class RefusedError(HnexportError):
    """A request that is refused.

    Attributes:
        status: of HTTP.
        headers: further ones of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def unavailable(message: str) -> RefusedError:
    """Not this time: the same request may succeed a little later, or on another replica."""
    return RefusedError(503, message, {"Retry-After": str(_RETRY_AFTER_S)})
