"""What needs torch is no test."""

collect_ignore = ["networks.py", "make_models.py"]
