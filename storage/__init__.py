"""Live scores, the log of votes, the flusher and the archive."""
