"""What `sluicegate run` gives a command: its environment, its files, and walls around the gateway."""
