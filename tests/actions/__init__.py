"""Deciding on prunes and doing them."""
