"""Main networks: ordinary modules that know nothing of hypernetworks, and the table of their tensors."""

from hnexport.networks.slots import Role, Slot, network_slots

__all__ = ["Role", "Slot", "network_slots"]
