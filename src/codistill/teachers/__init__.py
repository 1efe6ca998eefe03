"""Teachers: any encoder plus a domain and the token kinds it teaches; the bank that runs them."""
