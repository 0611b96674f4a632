"""The calls over HTTP, a module for each part of the contract."""
