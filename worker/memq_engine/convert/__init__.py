"""Qdrant's protobuf messages to the engine's objects, and back."""
