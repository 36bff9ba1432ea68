"""Dataset snapshots: bars read from files, and folders checked against their manifests."""
