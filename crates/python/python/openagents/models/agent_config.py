"""Settings of language models."""

from __future__ import annotations

from typing import Any

__all__ = ["AgentConfig"]


class AgentConfig:
    """Settings for a language model, kept as they were given.

    This package brings no language model: call one from a hook, and give the worker whatever that needs.
    """

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)

    def __repr__(self) -> str:
        # Settings hold keys of services.
        return f"AgentConfig({', '.join(sorted(self.__dict__))})"
