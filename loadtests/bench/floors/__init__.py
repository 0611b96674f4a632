"""What the machine could do at best: the same bytes without what Plaudit does for them."""
