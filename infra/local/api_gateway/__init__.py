"""The local stand-in for Amazon API Gateway WebSocket APIs."""
