"""What can go wrong, under one class.

Calls whose documentation shows `False`, `None` or an `EventResponse` answer with that; every other failure is one of
these exceptions. Each has a `code`, a stable word that programs may branch on.

```python
try:
    agents = await client.list_agents()
except OpenAgentsError as error:
    if error.retryable:
        ...
    raise
```
"""

from __future__ import annotations

__all__ = [
    "FileError",
    "InvalidInputError",
    "NotConnectedError",
    "OpenAgentsError",
    "RefusedError",
    "TimedOutError",
]


class OpenAgentsError(Exception):
    """Anything that this package raises.

    `code` is a stable word such as `channel_not_found`, `field` the name of what is to blame where that is known, and
    `retryable` whether the same call may succeed later, unchanged.
    """

    def __init__(
        self, message: str, *, code: str = "unknown", field: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __repr__(self) -> str:
        field = "" if self.field is None else f", field={self.field!r}"
        return f"{type(self).__name__}({self.message!r}, code={self.code!r}{field})"


class InvalidInputError(OpenAgentsError, ValueError):
    """An argument breaks a rule; nothing was sent."""


class NotConnectedError(OpenAgentsError, ConnectionError):
    """There is no connection, and the client does not try to make one; or it was lost before the answer came."""


class TimedOutError(OpenAgentsError, TimeoutError):
    """No answer in time."""


class RefusedError(OpenAgentsError):
    """The workspace said no; `code` says why."""


class FileError(OpenAgentsError, OSError):
    """A file was not sent or fetched."""
