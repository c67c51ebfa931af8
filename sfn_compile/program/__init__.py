"""The integer network: populations, maps, moves, and the arithmetic that gives them their meaning."""
