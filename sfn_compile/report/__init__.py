"""What a compilation tells its user: numbers for ``report.json``, tables for the terminal."""
