"""Other people's checks over the compiled template: checkov and cfn-guard, with a reason for every finding that is left.

``python -m infra.vet TEMPLATE...`` runs them; `make vet` installs them first, and runs cfn-lint too, which leaves nothing.
"""
