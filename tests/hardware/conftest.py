"""What pytest does not import here: a script for another Python."""

collect_ignore = ["sanafe_replay.py"]
