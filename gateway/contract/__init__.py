"""The published contract of maya.v1: documents generated from the message models, and the page in words beside them."""
