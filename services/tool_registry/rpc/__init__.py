"""The servicers, one for each service of the contracts: unpack, call, pack."""
