"""The types that gRPC hands to every part."""

from __future__ import annotations

from typing import TypeAlias

import grpc
from google.protobuf.message import Message

Context: TypeAlias = grpc.aio.ServicerContext[Message, Message]
