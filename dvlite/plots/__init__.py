"""Plots: from the bytes of data files to charts in SVG, and a page that shows them."""
