"""Reports in a real browser: Chromium, driven by playwright, without a network."""
