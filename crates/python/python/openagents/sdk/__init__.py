"""The client and the workspace."""
