"""Pools: one workflow per pool lends slots to task instances of any run."""
