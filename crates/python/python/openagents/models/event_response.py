"""The answer to sending something."""

from __future__ import annotations

from typing import Any

from openagents import _native
from openagents.errors import OpenAgentsError

__all__ = ["EventResponse"]


class EventResponse:
    """Whether something was accepted, and what happened to it.

    ```python
    response = await channel.post("Hello!")
    if response.success:
        print(response.data["message_id"])
    else:
        print(response.code, response.message)
    ```
    """

    __slots__ = ("_data", "error", "event_name", "message", "success")

    def __init__(
        self,
        success: bool,
        message: str | None = None,
        data: Any = None,
        event_name: str | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        self.success = success
        """Whether it was accepted and is as durable as the workspace promises."""
        self.message = message
        """What happened, for people."""
        self._data = data
        self.event_name = event_name
        """The event that was sent."""
        self.error = error
        """Why it was refused: `code`, `message`, and `field` where one is to blame."""

    @classmethod
    def _of(cls, told: tuple[bool, str | None, _native.Receipt | None, str, dict[str, Any] | None]) -> EventResponse:
        """What the Rust side tells."""
        success, message, data, event_name, error = told
        return cls(success, message, data, event_name, error)

    @property
    def data(self) -> Any:
        """What happened to it: for a message `message_id`, `recipients` and more; `None` when it was refused."""
        if isinstance(self._data, _native.Receipt):
            self._data = self._data.read()
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = data

    @property
    def code(self) -> str | None:
        """The stable word for why it was refused, such as `channel_not_found`; `None` when it was accepted."""
        return None if self.error is None else str(self.error["code"])

    def __bool__(self) -> bool:
        return self.success

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventResponse):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.success, self.message, self.data, self.event_name, self.error)

    def to_dict(self) -> dict[str, Any]:
        """Every field in a dictionary."""
        return {name: getattr(self, name) for name in ("success", "message", "data", "event_name", "error")}

    def __repr__(self) -> str:
        if self.success:
            return f"EventResponse(success=True, event_name={self.event_name!r}, data={self.data!r})"
        return f"EventResponse(success=False, code={self.code!r}, message={self.message!r})"


def refusal(error: OpenAgentsError, event_name: str | None = None) -> EventResponse:
    """The answer that says why something was not accepted."""
    body = {"code": error.code, "message": error.message, "field": error.field}
    return EventResponse(False, message=error.message, event_name=event_name, error=body)
