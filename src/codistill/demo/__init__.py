"""The demo page: a student distilled live from shipped specialists, and all answers of one encoder's heads."""
