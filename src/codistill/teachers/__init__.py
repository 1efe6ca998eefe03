"""Teachers: any encoder with a domain and the token kinds that it teaches; and the bank that runs them."""
