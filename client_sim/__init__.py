"""The app's side of maya.v1: a phone, its learner, and `talk`, which holds one conversation with any gateway."""
