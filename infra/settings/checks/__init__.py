"""Checks that need a whole stack: its users, pools and flavors."""
