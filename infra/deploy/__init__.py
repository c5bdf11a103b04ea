"""What is looked at in the account before anything is deployed: ``python -m infra.deploy TEMPLATE``; part of `make deploy`."""
