"""How fast, and how large in memory."""
