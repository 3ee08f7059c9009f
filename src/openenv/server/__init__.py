"""The doors of an environment: WebSocket, HTTP and MCP, over one `ServerRuntime`."""
