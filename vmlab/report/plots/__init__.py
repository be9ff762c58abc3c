"""Plots: what is to be drawn (`chart`), and matplotlib drawing it as SVG and PNG."""
