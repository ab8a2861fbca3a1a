"""Budgets: what an account means to spend, who is told, and what is done when it spends more."""
