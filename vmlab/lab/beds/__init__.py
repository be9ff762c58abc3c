"""Whole beds and their nodes: plan, up, down, status, power, exec, cp, export."""
