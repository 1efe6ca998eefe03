"""Sources whose images are objects in a store: opening, reading ahead, indexing and packing them."""
