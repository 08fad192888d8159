"""Dataset layouts: each module recognizes one layout and returns an `ImageIndex`."""
