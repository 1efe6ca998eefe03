"""Sources whose images are objects of a store: opened, read ahead, indexed and packed."""
