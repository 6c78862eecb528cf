"""Providers' batch APIs, behind one protocol: half the price, answers within a day."""
