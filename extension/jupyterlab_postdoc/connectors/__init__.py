"""MCP servers that the administrator has configured: read the file, keep the connections, list and call their tools."""
