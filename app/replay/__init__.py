"""Casts the ballots of a contest that was: files to boards, songs and agents, and every ballot over a websocket."""
