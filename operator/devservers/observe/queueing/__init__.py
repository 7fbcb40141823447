"""What Kueue's objects say about one server that waits for quota."""
