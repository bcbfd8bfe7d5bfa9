"""What every explorer is made of: base, controls, view, worker, and the blocks that several share."""
