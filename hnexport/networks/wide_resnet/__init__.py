"""Wide ResNets, the reference family: specification, slots, module, chunking, initialisation, checkpoints."""
