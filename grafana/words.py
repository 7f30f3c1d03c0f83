"""Words and expressions that several dashboards use."""

from __future__ import annotations

NO_NODES = "No such node has been looked at"
NO_PRUNES = "Nothing is pruned: the configuration has no prune section"
NO_BUILDS = "No builds are followed: collect.builds is off, or BuildKit keeps no history"
NO_CANARIES = "No canary builds: the configuration has no canary section"
NO_CERTIFICATES = "No node is reached over TLS"

FREE_SHARE = "buildfarm_disk_available_bytes / buildfarm_disk_size_bytes"
INODES_FREE_SHARE = "buildfarm_disk_inodes_free / buildfarm_disk_inodes"
