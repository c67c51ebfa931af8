"""From calibration data to ladders: streaming statistics and the methods that turn them into steps."""
