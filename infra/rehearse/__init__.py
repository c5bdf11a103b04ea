"""A deploy that needs no account: osls deploys the real template to ministack, and a learner talks to what was deployed.

``python -m infra.rehearse`` does it, `make rehearse` installs first what it needs. Whose is what:

- ministack (a package): CloudFormation, S3, IAM (each function has its own role's credentials, and is refused what it does not
  allow), Lambda's and API Gateway's configuration, Cognito with its tokens, Secrets Manager,
  DynamoDB, SQS, alarms, dashboard.
- ours, from infra/local: API Gateway's WebSocket and Lambda's execution environments, since ministack's carry some twenty
  messages a second and do not echo the subprotocol. They are told nothing but what ministack says was deployed: routes,
  authorizer, functions, their code and variables.
- Nova Sonic's stand-in, and a real Valkey as a cluster of one node with the deployed users.
"""
