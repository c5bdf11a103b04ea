"""One file for each outside thing: Nova Sonic, Nova Micro, Redis, DynamoDB, SQS, Lambda, the phone, tokens, telemetry."""
