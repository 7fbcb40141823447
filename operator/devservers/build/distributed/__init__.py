"""What a distributed server has besides its pods' template: network, keys, launchers, variables."""
