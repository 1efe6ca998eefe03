"""What each command may be told: parsers, which import nothing heavy, so that a slip is answered at once."""
