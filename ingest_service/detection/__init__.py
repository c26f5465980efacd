"""Detection: fault monitors over the whole fleet, strictly online, restored exactly after a restart."""
