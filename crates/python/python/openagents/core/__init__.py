"""The same classes as in `openagents.sdk`, where earlier documentation has them."""
