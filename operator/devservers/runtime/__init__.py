"""The operator's process: watches, cache, work queue, leader election, health."""
