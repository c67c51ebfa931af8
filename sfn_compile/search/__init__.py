"""Search over compile options: calibrate once, map many times, measure each on samples that calibration never saw."""
