"""The local stand-in for AWS Lambda: functions as operating system processes, invoked as AWS does."""
