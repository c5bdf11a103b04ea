"""The plots of a report, as SVG text of our own: nothing is fetched, and a browser needs no script for them."""
