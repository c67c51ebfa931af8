"""What a diagnostic code is, and the exit statuses."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK, EXIT_CHECK_FAILED, EXIT_USAGE, EXIT_INPUT, EXIT_TARGET, EXIT_ENVIRONMENT, EXIT_BUG = 0, 1, 2, 3, 4, 5, 70
EXIT_PIPE = 141  # nobody reads the output any more: as the shell says it of a program that SIGPIPE ended


@dataclass(frozen=True)
class Code:
    """A diagnostic code: its exit status, a one-line title and the page that explains it."""

    exit_code: int
    title: str
    page: str
    severity: str = "error"
