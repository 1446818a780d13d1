"""How agents reach a workspace."""

from __future__ import annotations

from enum import Enum

__all__ = ["TransportType"]


class TransportType(str, Enum):
    """What `enforce_transport_type` may name. This client finds out by itself what a server speaks."""

    HTTP = "http"
    GRPC = "grpc"
    WEBSOCKET = "websocket"

    __str__ = str.__str__
