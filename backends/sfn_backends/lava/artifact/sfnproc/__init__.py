"""The processes that lava-nc lacks. Lava imports every file of this folder, so it holds process files only."""
