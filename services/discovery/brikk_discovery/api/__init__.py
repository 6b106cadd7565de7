"""What discovery answers over gRPC."""
