"""What devctl prints: tables, times, progress, errors."""
