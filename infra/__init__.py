"""The cloud: as CloudFormation pieces, and on one machine."""
