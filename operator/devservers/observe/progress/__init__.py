"""The progress of a start: phase, stages, and what explains that it waits."""
