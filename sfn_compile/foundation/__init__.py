"""What every room may use: codes and diagnostics, options, samples, units."""
