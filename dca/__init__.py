"""Deliberative credit assignment for reasoning models."""
